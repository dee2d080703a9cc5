"""The package itself: factory, downcasts, ParameterSpace, AutoTune, classes, documentation."""

import ast
import copy
import inspect
import os
import pickle
import re
import unittest

import faiss
import numpy as np

import faiss_vlc
from faiss.contrib.inspect_tools import get_invlist
from python_fixture import BASE, D, IVFPQ, KEYS, QUERIES, TRAIN, VLC, assert_same, fresh_process, make, tiers


class Factory(unittest.TestCase):
    def test_trees(self):
        for key in ["OPQ4_16,VLC16x4", "PCA16,VLC16", "IDMap,VLC16b12", "IDMap2,VLC16", "VLC16x2,RFlat",
                    "L2norm,VLC16", "RR16,VLC16x1.5", "VLC16x1,Refine(VLC16x8)"]:
            for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
                index = faiss.index_factory(D, tiers(key), metric)
                self.assertFalse(index.is_trained, key)
                self.assertEqual(index.metric_type, metric)
                vlcs = faiss_vlc._plug.vlcs_in(index)
                self.assertEqual(len(vlcs), key.count("VLC"), key)
                self.assertTrue(all(type(vlc) is faiss_vlc.IndexVLC for vlc in vlcs))

    def test_others_go_to_faiss(self):
        for key in ["Flat", IVFPQ, "PCA8,IVF4,Flat", "HNSW8", "IDMap,SQ8"]:
            index = faiss.index_factory(D, key)
            self.assertNotIsInstance(index, faiss_vlc.IndexVLC)

    def test_own_invlists(self):
        self.assertIsInstance(faiss.index_factory(D, "VLC16", faiss.METRIC_L2, True), faiss_vlc.IndexVLC)
        with self.assertRaisesRegex(RuntimeError, "own_invlists = False for 'IDMap,VLC16': expected True"):
            faiss.index_factory(D, "IDMap,VLC16", faiss.METRIC_L2, False)

    def test_errors(self):
        for key, words in [("VLC16y4", r"expected VLC\[<m>\].*got 'VLC16y4'"), ("VLC0", "1048576"),
                           ("VLC64_HNSW32", "takes no quantizer.*expected 'VLC64', got 'VLC64_HNSW32'"),
                           ("VLC64(HNSW32)", "takes no quantizer"),
                           ("VLC16,PQ4", "VLC"), ("HNSW8,VLC", "VLC")]:
            with self.assertRaisesRegex(RuntimeError, words):
                faiss.index_factory(D, key)


class Classes(unittest.TestCase):
    def test_is_an_index(self):
        index = faiss_vlc.IndexVLC(D, 16, 4)
        self.assertIsInstance(index, faiss.IndexIVF)
        self.assertTrue(issubclass(faiss_vlc.IndexVLC, faiss.Index))
        self.assertEqual((index.d, index.nlist, index.code_size), (D, 16, D * 4 // 8 + 2))

    def test_constructors(self):
        ip = faiss.METRIC_INNER_PRODUCT
        parameters = faiss_vlc.VLCParameters(m=32, bytes=12, seed=3, robust=faiss_vlc.Robust.trim)
        for index in [faiss_vlc.IndexVLC(D, parameters=parameters, metric=ip),
                      faiss_vlc.IndexVLC(D, parameters, ip)]:
            self.assertEqual((index.nlist, index.code_size, index.metric_type), (32, 12, ip))
            self.assertEqual(index.parameters, parameters)
        self.assertEqual(faiss_vlc.IndexVLC(faiss_vlc.IndexVLC(D, 8)).nlist, 8)
        for wrong in [lambda: faiss_vlc.IndexVLC(0), lambda: faiss_vlc.IndexVLC(D, -1),
                      lambda: faiss_vlc.IndexVLC(D, metric=faiss.METRIC_Linf),
                      lambda: faiss_vlc.IndexVLC(D, parameters, faiss.METRIC_L1)]:
            self.assertRaisesRegex(RuntimeError, "expected .* got", wrong)
        self.assertRaises(TypeError, faiss_vlc.IndexVLC, D, parameters, parameters=parameters)
        self.assertRaises(TypeError, faiss_vlc.IndexVLC, D, parameters, ip, ip)

    def test_parameters(self):
        parameters = faiss_vlc.VLCParameters(m=4, device="reference")
        self.assertEqual(repr(parameters), "VLCParameters(m=4, device='reference')")
        self.assertEqual(faiss_vlc.VLCParameters(**parameters.to_dict()), parameters)
        self.assertNotEqual(faiss_vlc.VLCParameters(), parameters)
        with self.assertRaisesRegex(AttributeError, "no 'iteration'; it has .*iterations"):
            parameters.iteration = 3
        with self.assertRaisesRegex(AttributeError, "no 'nlist'"):
            faiss_vlc.VLCParameters(nlist=3)
        with self.assertRaisesRegex(RuntimeError, "iterations: expected 1 to 10000, got 0"):
            faiss_vlc.VLCParameters(iterations=0).check(D)

    def test_downcast(self):
        index = make("PCA16," + VLC)
        inner = faiss.downcast_index(index.index)
        self.assertIs(type(inner), faiss_vlc.IndexVLC)
        self.assertIs(type(faiss.extract_index_ivf(index)), faiss_vlc.IndexVLC)
        self.assertIs(type(faiss.try_extract_index_ivf(index)), faiss_vlc.IndexVLC)
        self.assertIsNone(faiss.try_extract_index_ivf(faiss.IndexFlat(D)))
        self.assertRaises(RuntimeError, faiss.extract_index_ivf, faiss.IndexFlat(D))

    def test_parts_keep_the_whole(self):
        expected = make("PCA16," + VLC).search(QUERIES, 5)
        whole = faiss.downcast_index(make("PCA16," + VLC))
        np.testing.assert_array_equal(whole.search(QUERIES, 5)[1], expected[1])
        part = faiss.extract_index_ivf(make("PCA16," + VLC))
        self.assertEqual(part.search(QUERIES[:, :16].copy(), 5)[1].shape, (len(QUERIES), 5))

    def test_trained_on(self):
        index = faiss_vlc.IndexVLC(D, parameters=faiss_vlc.VLCParameters(m=16, device="reference"))
        index.train(TRAIN)
        index.add(BASE)
        self.assertEqual(index.trained_on, "reference")
        self.assertGreater(index.memory(), len(BASE) * index.code_size)
        lists = index.assign_lists(BASE[:100])
        for i, list_no in enumerate(lists):
            self.assertIn(i, get_invlist(index.invlists, int(list_no))[0])
        self.assertRaises(ValueError, index.assign_lists, BASE[:, 1:])


class Parameters(unittest.TestCase):
    def test_nprobe_in_trees(self):
        for key in KEYS:
            for tree in ["{}", "PCA16,{}", "IDMap,{}", "{},RFlat"]:
                index = make(tree.format(key), add=False)
                space = faiss.ParameterSpace()
                space.initialize(index)
                flat = faiss.ParameterSpace()
                flat.initialize(faiss.index_factory(D, tree.format("IVF16,Flat")))
                if key == VLC: # IVFPQ has one more, of its codes
                    self.assertEqual(space.n_combinations(), flat.n_combinations())
                space.set_index_parameters(index, "nprobe=5" + (",k_factor_rf=3" if "RFlat" in tree else ""))
                inner = index if tree == "{}" else faiss.downcast_index(
                    index.base_index if "RFlat" in tree else index.index)
                self.assertEqual(inner.nprobe, 5)

    def test_our_parameters(self):
        index = faiss.index_factory(D, "VLC16x1,Refine(VLC16x8)")
        faiss.ParameterSpace().set_index_parameters(index, "vlc_iterations=7,vlc_kappa=2.5,nprobe=3")
        for vlc in faiss_vlc._plug.vlcs_in(index):
            self.assertEqual((vlc.parameters.iterations, vlc.parameters.kappa), (7, 2.5))
        self.assertEqual(faiss.downcast_index(index.base_index).nprobe, 3)
        with self.assertRaisesRegex(RuntimeError, "vlc_nothing.*expected vlc_ and one of m,"):
            faiss.ParameterSpace().set_index_parameter(index, "vlc_nothing", 1)
        with self.assertRaisesRegex(RuntimeError, "no IndexVLC"):
            faiss.ParameterSpace().set_index_parameter(faiss.IndexFlat(D), "vlc_m", 1)
        with self.assertRaisesRegex(RuntimeError, "device: expected a text, got the number 1"):
            faiss.ParameterSpace().set_index_parameter(index, "vlc_device", 1)
        with self.assertRaisesRegex(RuntimeError, "seed: expected 0 to 4294967295, got -1"):
            faiss.ParameterSpace().set_index_parameter(index, "vlc_seed", -1)
        with self.assertRaises(RuntimeError):
            faiss.ParameterSpace().set_index_parameter(index, "nothing", 1)

    def test_max_probes(self):
        for tree in ["{}", "PCA16,{}", "IDMap,{}", "{},RFlat"]:
            index = make(tree.format(VLC), add=False)
            faiss.ParameterSpace().set_index_parameters(index, "nprobe=2,max_probes=12")
            inner, = faiss_vlc._plug.vlcs_in(index)
            self.assertEqual((inner.nprobe, inner.max_probes), (2, 12))
            faiss.ParameterSpace().set_index_parameter(index, "max_probes", 7)
            self.assertEqual(inner.max_probes, 7)
        with self.assertRaisesRegex(RuntimeError, "max_probes.*no IndexVLC"):
            faiss.ParameterSpace().set_index_parameter(faiss.IndexFlat(D), "max_probes", 1)

    def test_refine_k(self):
        index = make("PCA16,VLC16b6+11")
        inner, = faiss_vlc._plug.vlcs_in(index)
        faiss.ParameterSpace().set_index_parameter(index, "refine_k", 0)
        few = index.search(QUERIES, 3)
        faiss.ParameterSpace().set_index_parameters(index, "nprobe=8,refine_k=2000")
        self.assertEqual((inner.nprobe, inner.refine_k), (8, 2000))
        all_of_them = index.search(QUERIES, 3)
        faiss.ParameterSpace().set_index_parameter(index, "refine_k", 3)
        self.assertEqual(inner.refine_k, 3)
        self.assertTrue((index.search(QUERIES, 3)[0] != all_of_them[0]).any())
        parameters = faiss_vlc.SearchParametersVLC(nprobe=8, refine_k=2000)
        assert_same(inner.search(index.chain.at(0).apply(QUERIES), 3, params=parameters), all_of_them)
        faiss.ParameterSpace().set_index_parameter(index, "refine_k", 0)
        assert_same(index.search(QUERIES, 3), few)
        for again in (pickle.loads(pickle.dumps(parameters)), copy.copy(parameters)):
            self.assertEqual(again.refine_k, 2000)
        with self.assertRaisesRegex(RuntimeError, "refine_k.*no IndexVLC"):
            faiss.ParameterSpace().set_index_parameter(faiss.IndexFlat(D), "refine_k", 1)

    def test_autotune(self):
        flat = faiss.IndexFlat(D)
        flat.add(BASE)
        truth = flat.search(QUERIES, 10)[1]
        best = {}
        for key in KEYS:
            criterion = faiss.IntersectionCriterion(len(QUERIES), 10)
            criterion.set_groundtruth(None, truth)
            criterion.nnn = 10
            space = faiss.ParameterSpace()
            space.verbose = 0
            index = make(key)
            space.initialize(index)
            points = space.explore(index, QUERIES, criterion).optimal_pts
            self.assertGreater(points.size(), 1)
            best[key] = points.at(points.size() - 1)
            space.set_index_parameters(index, best[key].key)
            self.assertIn(f"nprobe={index.nprobe}", best[key].key)
        self.assertGreater(best[VLC].perf, best[IVFPQ].perf) # at 4 bits a dimension against 1


class Documentation(unittest.TestCase):
    def test_every_public_name(self):
        for name in faiss_vlc.__all__:
            value = getattr(faiss_vlc, name)
            if not isinstance(value, str):
                self.assertTrue(inspect.getdoc(value), name)
        for kind in (faiss_vlc.IndexVLC, faiss_vlc.VLCParameters, faiss_vlc.ParameterSpace,
                     faiss_vlc.SearchParametersVLC):
            for name, value in vars(kind).items():
                if not name.startswith("_") and not name.endswith("_c") and name not in ("thisown", "original_init"):
                    self.assertTrue(inspect.getdoc(value), f"{kind.__name__}.{name}")

    def assert_stub_has_parameters(self, kind):
        """The class has the names, types and defaults of VLCParameters, in this order, and a line on each."""
        known = faiss_vlc.VLCParameters().to_dict()
        types = {item.target.id: item.annotation.id for item in kind.body if isinstance(item, ast.AnnAssign)}
        self.assertEqual(list(types.items()), [(name, type(value).__name__) for name, value in known.items()])
        lines = [item.value.value for item in kind.body if isinstance(item, ast.Expr)]
        self.assertEqual(len(list(filter(None, lines))), len(known))
        functions = {item.name: item for item in kind.body if isinstance(item, ast.FunctionDef)}
        self.assertEqual(set(functions), {"__init__", "to_dict", "check", "code_size", "first_size", "second_size"})
        keywords = functions["__init__"].args
        defaults = {}
        for argument, default in zip(keywords.kwonlyargs, keywords.kw_defaults):
            value = eval(ast.unparse(default), vars(faiss_vlc))
            self.assertEqual(argument.annotation.id, types[argument.arg])
            defaults[argument.arg] = value
            self.assertTrue(np.isclose(value, known[argument.arg]) if types[argument.arg] == "float"
                            else value == known[argument.arg], argument.arg)
        self.assertEqual(list(defaults), list(known))

    def test_parameters_are_those_of_the_class(self):
        properties = [name for name, value in vars(faiss_vlc.VLCParameters).items()
                      if isinstance(value, property) and name != "thisown"]
        self.assertEqual(list(faiss_vlc.VLCParameters().to_dict()), properties)

    def test_stub(self):
        stub = os.path.join(os.path.dirname(faiss_vlc.__file__), "__init__.pyi")
        with open(stub, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        names, members = set(), {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                members[node.name] = {
                    getattr(item, "name", None) or item.target.id for item in node.body
                    if isinstance(item, (ast.FunctionDef, ast.AnnAssign))}
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign):
                names.add(node.target.id)
        self.assertEqual(names, set(faiss_vlc.__all__) | {"__version__"})
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.assert_stub_has_parameters(classes["VLCParameters"])
        for kind in (faiss_vlc.AnchorGrid, faiss_vlc.FrameKind, faiss_vlc.Robust):
            self.assertEqual({item.targets[0].id: ast.literal_eval(item.value)
                              for item in classes[kind.__name__].body},
                             {member.name: member.value for member in kind})
        for kind, found in members.items():
            own = vars(getattr(faiss_vlc, kind))
            for name in found:
                self.assertTrue(hasattr(getattr(faiss_vlc, kind), name), f"{kind}.{name}")
            if kind in ("IndexVLC", "SearchParametersVLC", "ParameterSpace"):
                public = {name for name in own if not name.startswith("_")
                          and name not in ("thisown", "original_init") and not name.endswith("_c")}
                inherited = set(dir(faiss.IndexIVFFlat)) | set(dir(faiss.SearchParametersIVF))
                self.assertLessEqual(public - found, inherited, kind)

    def test_version(self):
        self.assertRegex(faiss_vlc.__version__, r"^\d+\.\d+\.\d+$")
        self.assertEqual(faiss_vlc.FAISS_VERSION, faiss.__version__)
        self.assertIsInstance(faiss_vlc.devices(), list)
        self.assertEqual(faiss_vlc.simd_levels()[0], "portable")
        self.assertEqual(faiss_vlc.simd_level(), os.environ.get("VLC_SIMD") or faiss_vlc.simd_levels()[-1])

    def test_another_version_is_refused(self):
        text = fresh_process("import faiss\n"
                             "faiss.__version__ = '1.2.3'\n"
                             "try:\n"
                             "    import faiss_vlc\n"
                             "except ImportError as error:\n"
                             "    print(error)\n")
        for part in [f"built for FAISS {faiss_vlc.FAISS_VERSION}", "is FAISS 1.2.3", "Install",
                     "FAISS_INCLUDE_DIR"]:
            self.assertIn(part, text)


class OneFaiss(unittest.TestCase):
    def test_one_copy_and_one_openmp(self):
        with open("/proc/self/maps", encoding="utf-8") as file:
            maps = file.read()
        self.assertEqual(len(set(re.findall(r"\S*_swigfaiss[^/]*\.so", maps))), 1)
        self.assertEqual(len(set(re.findall(r"/\S*libgomp\S*", maps))), 1)

    def test_threads_are_faisss(self):
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        one = make(VLC).search(QUERIES, 5)
        faiss.omp_set_num_threads(3)
        three = make(VLC).search(QUERIES, 5)
        faiss.omp_set_num_threads(before)
        np.testing.assert_array_equal(one[1], three[1])


if __name__ == "__main__":
    unittest.main()
