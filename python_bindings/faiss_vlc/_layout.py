"""Proves that FAISS's classes are as the headers say that our extension was compiled with.

Our extension knows where the compiler put each public field, and which number each virtual function got. FAISS is asked
by its own accessors: they set fields, or give the address of what one holds, in memory that stands for an object, and
its wrappers call functions of an object whose table of virtual functions notes what was entered. A class's size shows
in the place of the first field of what derives from it or lies behind it.
"""

import ctypes

import faiss

_ROOM = 1 << 13 # bytes, more than any of the classes has
_BACKGROUND = b"\xa5"
_ZERO = {"b": False, "f": 0.0, "i": 0, "u": 0, "e": 0, "p": None} # by the kind of a field, see layout.h


class _Memory:
    """Stands for an object of a class; only accessors touch it."""

    def __init__(self, background):
        self.bytes = bytearray(background)
        self.background = background
        self.address = ctypes.addressof((ctypes.c_char * len(background)).from_buffer(self.bytes))

    def take(self, start, size):
        """The bytes there, which become background again."""
        part = slice(start, start + size)
        found = bytes(self.bytes[part])
        self.bytes[part] = self.background[part]
        return found

    def untouched(self):
        return self.bytes == self.background


def _accessors(cls):
    """The properties that SWIG made for the public fields of a class, inherited ones included."""
    found = {}
    for one in reversed(cls.__mro__):
        for name, value in vars(one).items():
            if isinstance(value, property) and getattr(value.fget, "__name__", "").endswith(f"_{name}_get"):
                found[name] = value
    return found


def _address(value):
    return int(getattr(value, "this", value))


def _wrong_field(memory, thing, accessor, offset, size, kind):
    """What is wrong with a field, or None."""
    if kind == "o":
        met = _address(accessor.fget(thing)) - memory.address
        return None if met == offset else f"at byte {met} rather than {offset}"
    if kind in _ZERO and accessor.fset:
        accessor.fset(thing, _ZERO[kind])
        fits = memory.take(offset, size) == bytes(size) and memory.untouched()
        memory.bytes[:] = memory.background
        return None if fits else f"not the {size} bytes from byte {offset} on"
    if kind in "iu" and not accessor.fset: # a constant
        memory.bytes[offset:offset + size] = bytes(size)
        met = accessor.fget(thing)
        memory.bytes[:] = memory.background
        return None if met == 0 else f"not the {size} bytes from byte {offset} on"
    return None # text and the like, which accessors look into: the fields around it show its place


def _wrong_fields(name, theirs, thing, memory, ours):
    """One message for each field that differs; theirs: accessors, ours: (offset, size, kind), by field."""
    for field, place in ours.items():
        if field in theirs: # some are hidden from Python
            wrong = _wrong_field(memory, thing, theirs[field], *place)
            if wrong:
                yield f"{name}.{field} lies elsewhere: {wrong}"


def _arguments(function):
    """What a virtual function can be called with, as nothing looks at it."""
    return {
        "__call__": (None, 0, 0), "add": (0, None), "add_core": (0, None, None, None),
        "add_entries": (0, 0, None, None), "add_with_ids": (0, None, None), "apply_noalloc": (0, None, None),
        "assign": (0, None, None), "check_compatible_for_merge": (faiss.IndexFlat(1),), "clone_Index": (None,),
        "clone_VectorTransform": (None,), "decode_vectors": (0, None, None, None),
        "distance_to_code": (None,), "encode_vectors": (0, None, None, None), "get_codes": (0,), "get_ids": (0,),
        "get_single_code": (0, 0), "get_single_id": (0, 0), "is_member": (0,), "list_size": (0,),
        "merge_from": (faiss.IndexFlat(1), 0), "prefetch_lists": (None, 0), "range_search": (0, None, 0.0, None),
        "range_search_preassigned": (0, None, 0.0, None, None, None), "read": (None, 0), "reconstruct": (0, None),
        "reconstruct_from_offset": (0, 0, None), "reconstruct_n": (0, 0, None), "release_codes": (0, None),
        "release_ids": (0, None), "remove_ids": (faiss.IDSelectorRange(0, 1),), "resize": (0, 0),
        "reverse_transform": (0, None, None), "sa_decode": (0, None, None), "sa_encode": (0, None, None),
        "search": (0, None, 0, None, None), "search_and_reconstruct": (0, None, 0, None, None, None),
        "search_preassigned": (0, None, 0, None, None, None, None, False), "set_list": (0, 0.0), "set_query": (None,),
        "train": (0, None), "train_encoder": (0, None, None), "update_entries": (0, 0, 0, None, None),
        "update_vectors": (0, None, None), "write": (None, None),
    }.get(function, ())


def _entered(swigvlc, call, thing, function):
    """The number of the virtual function that a call of FAISS's wrapper enters."""
    returned = faiss.NormalizationTransform(1) # the wrapper ends the process where it gets no transformation
    swigvlc.layout_answer(_address(returned) if function == "clone_VectorTransform" else 0)
    swigvlc.layout_entered()
    found = call(thing, *_arguments(function))
    if isinstance(found, faiss.VectorTransform):
        found.thisown = False # it is the one above
    return swigvlc.layout_entered()


def _wrong_virtual(extension, swigvlc, thing, owner, function, number):
    """What is wrong with a virtual function, or None."""
    call = getattr(extension, f"{owner}_{function}", None)
    if number < 0:
        return f"{owner}.{function}() is not virtual in the headers"
    if call is None:
        return f"{owner}.{function}() is only in the headers"
    try:
        met = _entered(swigvlc, call, thing, function)
    except (TypeError, ValueError, NotImplementedError) as error:
        return f"{owner}.{function}() has other parameters: {error}"
    return None if met == number else f"{owner}.{function}() is virtual function {met} rather than {number}"


def differences(extension, swigvlc):
    """What differs between the headers and FAISS's extension, as messages; empty if the two fit."""
    fields = {name: {} for name in swigvlc.layout_classes().split()}
    for line in swigvlc.layout_fields().splitlines():
        owner, field, offset, size, kind = line.split()
        fields[owner][field] = int(offset), int(size), kind
    memory = _Memory(_BACKGROUND * _ROOM)
    unknown, elsewhere = [], []
    for name, ours in fields.items():
        cls, thing = getattr(faiss, name, None), swigvlc.layout_object(name, memory.address)
        if cls is not None and thing is not None: # else Python has no accessors to ask
            theirs = _accessors(cls)
            unknown += [f"{name}.{field} is unknown to the headers" for field in sorted(set(theirs) - set(ours))]
            elsewhere += _wrong_fields(name, theirs, thing, memory, ours)
    found = unknown + elsewhere
    if found: # the fields say enough, and where they differ a call may go anywhere
        return found
    # Each word points to the table: there may be several bases with virtual functions, at any place.
    table = swigvlc.layout_table().to_bytes(ctypes.sizeof(ctypes.c_void_p), "little")
    memory = _Memory(table * (_ROOM // len(table)))
    for line in swigvlc.layout_virtuals().splitlines():
        owner, function, number = line.split()
        thing = swigvlc.layout_object(owner, memory.address)
        if thing is not None:
            found.append(_wrong_virtual(extension, swigvlc, thing, owner, function, int(number)))
    return [message for message in found if message]
