"""layout_table.py <xml of SWIG> <header>: lists the public fields of FAISS's classes that we derive from or touch, as
the headers have them, for _layout.py to compare with those of the faiss package.

SWIG's reading gives their names alone. Where they are is for the compiler to say."""

import sys
import xml.etree.ElementTree as ElementTree

# Those that the classes of ours derive from, those whose fields we read or write, and some that derive from them: the
# place of their first field shows how large the class above is.
CLASSES = """
    Index IndexFlatCodes IndexFlat IndexIDMap IndexIDMap2 IndexPreTransform IndexRefine IndexRefineFlat IndexReplicas
    IndexShards IndexShardsIVF IndexRowwiseMinMax IndexSplitVectors MultiIndexQuantizer IndexPQ IndexHNSW IndexNSG
    IndexNNDescent IndexIVF IndexIVFFlat IndexIVFPQ IndexIVFIndependentQuantizer IndexIVFStats ClusteringParameters
    SearchParameters SearchParametersIVF IndexIVFInterface DirectMap InvertedLists ArrayInvertedLists
    BlockInvertedLists InvertedListScanner IDSelector IDSelectorRange IDSelectorArray IDSelectorBatch IDSelectorBitmap
    IDSelectorTranslated VectorTransform LinearTransform PCAMatrix NormalizationTransform CenteringTransform
    RangeSearchResult RangeSearchPartialResult RangeQueryResult BufferList IOReader IOWriter VectorIOReader
    VectorIOWriter FileIOReader FileIOWriter BufferedIOReader InvertedListsIOHook Cloner InterruptCallback
""".split()


def attributes(node):
    return {one.get("name"): one.get("value") for one in node.findall("attributelist/attribute")}


def plain(name):
    """faiss::IndexIDMapTemplate<(IndexT)> is an IndexIDMap."""
    name = name.partition("<")[0].rpartition("::")[2]
    return {"IndexT": "Index"}.get(name, name.removesuffix("Template"))


class Headers:
    def __init__(self, path):
        self.fields, self.bases, self.names = {}, {}, set()
        for node in ElementTree.parse(path).iter():
            name = attributes(node).get("name")
            if node.tag in ("class", "template") and name and plain(name) not in self.fields:
                self.names.add(plain(name))
                self.bases[plain(name)] = [plain(base.get("name")) for base in
                                           node.findall("attributelist/baselist/base")]
                self.fields[plain(name)] = list(self.fields_of(node))

    @staticmethod
    def fields_of(node):
        for child in node.findall("cdecl"):
            one = attributes(child)
            if (one.get("kind") == "variable" and one.get("access", "public") == "public" and
                    one.get("storage") != "static" and not one.get("type", "").endswith("r.")): # references
                yield one["name"]

    def all_fields(self, name):
        """Its own and inherited ones."""
        found = list(self.fields.get(name, []))
        for base in self.bases.get(name, []):
            found += [field for field in self.all_fields(base) if field not in found]
        return found


def main(xml, header):
    headers = Headers(xml)
    lines = []
    for name in CLASSES:
        if name in headers.names:
            lines.append(f"CLASS({name})")
            lines += [f"FIELD({name}, {field})" for field in headers.all_fields(name)]
    with open(header, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
