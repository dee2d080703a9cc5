#include <faiss_vlc/cli/cli.h>

#include <algorithm>
#include <cstdio>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

namespace faiss_vlc::cli {

namespace {

struct Arguments {
    std::string index;
    bool devices = false;
};

Json list_balance(const faiss::IndexIVF& ivf) {
    std::vector<size_t> sizes(ivf.nlist);
    for (size_t j = 0; j < ivf.nlist; j++) {
        sizes[j] = ivf.invlists->list_size(j);
    }
    std::sort(sizes.begin(), sizes.end());
    Json json;
    json["lists"] = ivf.nlist;
    if (!sizes.empty()) {
        json["empty"] = std::upper_bound(sizes.begin(), sizes.end(), size_t(0)) - sizes.begin();
        json["smallest"] = sizes.front();
        json["mean"] = rounded(double(ivf.ntotal) / double(ivf.nlist));
        json["median"] = sizes[sizes.size() / 2];
        json["largest"] = sizes.back();
    }
    if (ivf.ntotal > 0) {
        // how much more a search scans than if all lists were equal
        json["imbalance"] = rounded(ivf.invlists->imbalance_factor(), 4);
    }
    return json;
}

Json second_of(const SecondTier& tier, int d) {
    Json json;
    json["bytes"] = tier.code_size();
    json["factor_bytes"] = tier.factor_bytes;
    json["bits_per_dimension"] = rounded(8.0 * tier.layout.code_bytes / d, 4);
    json["axes"] = tier.layout.axes();
    json["refined"] = tier.refined;             // of the best by the first tier, for 10 results
    json["refined_usual"] = tier.refined_usual; // with the default nprobe
    json["refined_base"] = tier.refined_base;
    return json;
}

Json code_of(const IndexVLC& index) {
    const Layout& layout = index.model->layout;
    Json json;
    json["bytes"] = index.code_size;
    if (index.model->second) {
        json["first_bytes"] = layout.code_size();
        json["second"] = second_of(*index.model->second, index.d);
    }
    json["codec"] = layout.has_words() ? "block" : "lattice";
    json["factor_bytes"] = layout.factor_bytes;
    json["id_bytes"] = index.lists().id_bytes();
    json["bits_per_dimension"] = rounded(8.0 * layout.code_bytes / index.d, 4);
    if (layout.has_words()) {
        json["blocks"] = layout.blocks();
        json["axes"] = index.model->frames[0].own ? "own" : "principal";
        json["of"] = index.model->whole_words ? "vectors" : "residuals";
        return json;
    }
    std::vector<int> by_width(kMaxWidth + 1);
    for (const Field& field : layout.fields) {
        const int lanes = std::min(field.lanes, std::max(0, index.d - field.first));
        by_width[field.width] += lanes;
    }
    by_width[0] = index.d;
    for (int width = 1; width <= kMaxWidth; width++) {
        by_width[0] -= by_width[width];
    }
    Json widths;
    for (int width = 0; width <= kMaxWidth; width++) {
        if (by_width[width] > 0) {
            widths[std::to_string(width)] = by_width[width];
        }
    }
    json["dimensions_by_bits"] = widths;
    return json;
}

Json training_of(const IndexVLC& index) {
    const TrainingRecord& record = index.model->record;
    const VLCParameters& p = index.parameters;
    Json json;
    json["vectors"] = record.n;
    json["iterations"] = record.iterations;
    json["seed"] = record.seed;
    json["energy"] = rounded(record.energy_train);
    json["energy_held_out"] = rounded(record.energy_held);
    json["robust"] = enumeration_of(p.robust).text(int32_t(p.robust));
    json["frame"] = enumeration_of(p.frame).text(int32_t(p.frame));
    const Estimator& e = index.model->estimator;
    json["estimator"] = {{"t1", rounded(e.t1)}, {"t2", rounded(e.t2)}, {"c", rounded(e.c)}};
    json["default_nprobe"] = index.model->default_nprobe;
    return json;
}

/// Null in an index of a version that didn't count.
Json held_out_of(const HeldOutRecall& held) {
    if (held.sought == 0) {
        return nullptr;
    }
    const auto recall = [&](int64_t found) {
        return rounded(double(found) / double(held.sought), 4);
    };
    Json json;
    json["queries"] = held.queries;
    json["base"] = held.base;
    json["neighbours"] = held.sought / held.queries;
    json["nprobe"] = held.nprobe;
    json["recall"] = recall(held.probed);
    json["recall_all_lists"] = recall(held.estimated);
    json["recall_decoded"] = recall(held.decoded);
    json["recall_exact_order"] = recall(held.in_lists);
    if (held.product > 0) {
        json["recall_product_quantizer"] = recall(held.product);
    }
    json["recall_on_lattice"] = recall(held.on_lattice);
    return json;
}

Json added_of(const AddedRows& added) {
    return {{"rows", added.rows},
            {"outside", added.outside},
            {"outside_twice", added.twice},
            {"farthest", rounded(added.farthest, 4)}};
}

Json run_index(const std::string& path) {
    LoadedIndex loaded = open_index(path);
    const faiss::Index& index = *loaded.index;
    Json json;
    json["index"] = path;
    json["kind"] = loaded.vlc == loaded.index.get() && loaded.vlc ? "IndexVLC"
                   : loaded.vlc                                   ? "FAISS index around an IndexVLC"
                                                                  : "FAISS index";
    json["n"] = index.ntotal;
    json["d"] = index.d;
    json["metric"] = metric_name(index.metric_type);
    json["trained"] = index.is_trained;
    add_size(json, file_size(path), index.ntotal, index.d);
    if (loaded.ivf) {
        json["nprobe"] = loaded.ivf->nprobe;
        json["balance"] = list_balance(*loaded.ivf);
    }
    if (loaded.vlc && loaded.vlc->model) {
        const IndexVLC& vlc = *loaded.vlc;
        json["anchors"] = {
                {"m", vlc.model->m},
                {"stored_as", enumeration_of(vlc.model->grid).text(int32_t(vlc.model->grid))}};
        json["code"] = code_of(vlc);
        json["training"] = training_of(vlc);
        json["held_out"] = held_out_of(vlc.held_out_recall());
        json["added"] = added_of(vlc.added_rows());
    }
    if (is_payload(path)) {
        const SectionReader sections(map_file(path));
        json["format_version"] = sections.version();
        Json list = Json::array();
        for (const Section& section : sections.sections()) {
            list.push_back({{"name", section.name}, {"bytes", section.bytes.size}});
        }
        json["sections"] = list;
    }
    return json;
}

void print_held_out(const Json& held) {
    const auto line = [&](const char* name, const char* of) {
        printf("           %.3f  %s\n", held[name].get<double>(), of);
    };
    const std::string probed = "of an exact order of the vectors in these " +
                               std::to_string(held["nprobe"].get<int64_t>()) +
                               " lists: the rest is in others";
    printf("recall@%-3lld %.3f  to expect with nprobe %lld, of vectors like the training's\n",
           held["neighbours"].get<long long>(), held["recall"].get<double>(),
           held["nprobe"].get<long long>());
    line("recall_exact_order", probed.c_str());
    line("recall_all_lists", "with all lists probed: the rest is lost to the codes");
    line("recall_decoded", "by distances to decoded vectors, all lists probed");
    if (held.contains("recall_product_quantizer")) {
        line("recall_product_quantizer",
             "by a product quantizer of as many bytes, all lists probed");
    }
    printf("           (%lld held-out vectors among %lld of the sample; more vectors, or other "
           "queries, find less)\n",
           held["queries"].get<long long>(), held["base"].get<long long>());
}

void print_added(const Json& added) {
    const auto rows = added["rows"].get<long long>(), outside = added["outside"].get<long long>();
    if (rows == 0) {
        return;
    }
    printf("added      %lld vectors, %lld (%.2g %%) outside of what training saw", rows, outside,
           100.0 * double(outside) / double(rows));
    if (added["farthest"].get<double>() > 0) {
        printf(", %lld over twice as far; the farthest at %.3g times its bound",
               added["outside_twice"].get<long long>(), added["farthest"].get<double>());
    }
    printf("\n");
}

void print_second(const Json& second) {
    printf("\nsecond     %d bytes with %d of factors; %.4g bits per dimension, for %d axes; orders "
           "%d for 10 results among %lld anew, %d with the default nprobe, more of more",
           second["bytes"].get<int>(), second["factor_bytes"].get<int>(),
           second["bits_per_dimension"].get<double>(), second["axes"].get<int>(),
           second["refined"].get<int>(), second["refined_base"].get<long long>(),
           second["refined_usual"].get<int>());
}

void print_index(const Json& json) {
    printf("%s: %s, %lld vectors of %d dimensions (%s)\n", json["index"].get<std::string>().c_str(),
           json["kind"].get<std::string>().c_str(), json["n"].get<long long>(),
           json["d"].get<int>(), json["metric"].get<std::string>().c_str());
    print_size(json);
    if (json.contains("anchors")) {
        printf("anchors    %d, stored as %s\n", json["anchors"]["m"].get<int>(),
               json["anchors"]["stored_as"].get<std::string>().c_str());
        const Json& code = json["code"];
        const bool tiers = code.contains("second");
        printf("code       %d bytes with %d of factors, id %d bytes; %.4g bits per dimension:",
               code[tiers ? "first_bytes" : "bytes"].get<int>(), code["factor_bytes"].get<int>(),
               code["id_bytes"].get<int>(), code["bits_per_dimension"].get<double>());
        if (code.contains("blocks")) {
            printf(" words of 8 bits for %d blocks of %s axes, of %s", code["blocks"].get<int>(),
                   code["axes"].get<std::string>().c_str(), code["of"].get<std::string>().c_str());
        }
        const Json by_bits = code.value("dimensions_by_bits", Json::object());
        for (const auto& item : by_bits.items()) {
            printf(" %d x %s", item.value().get<int>(), item.key().c_str());
        }
        if (tiers) {
            print_second(code["second"]);
        }
        const Json& training = json["training"];
        printf("\ntraining   on %lld vectors, %d iterations, seed %u, robust %s, frame %s\n",
               training["vectors"].get<long long>(), training["iterations"].get<int>(),
               training["seed"].get<unsigned>(), training["robust"].get<std::string>().c_str(),
               training["frame"].get<std::string>().c_str());
        printf("           mean squared distance to the anchor %.6g, held out %.6g\n",
               training["energy"].get<double>(), training["energy_held_out"].get<double>());
        const Json& e = training["estimator"];
        printf("estimator  t1 %.4g, t2 %.4g, c %.4g\n", e["t1"].get<double>(),
               e["t2"].get<double>(), e["c"].get<double>());
        if (!json["held_out"].is_null()) {
            print_held_out(json["held_out"]);
        }
        print_added(json["added"]);
    }
    if (json.contains("balance")) {
        const Json& balance = json["balance"];
        printf("lists      %lld, nprobe %lld", balance["lists"].get<long long>(),
               json["nprobe"].get<long long>());
        if (balance.contains("empty")) {
            printf(", %lld empty, sizes %lld to %lld, mean %.4g, median %lld",
                   balance["empty"].get<long long>(), balance["smallest"].get<long long>(),
                   balance["largest"].get<long long>(), balance["mean"].get<double>(),
                   balance["median"].get<long long>());
        }
        if (balance.contains("imbalance")) {
            printf(", imbalance %.3f", balance["imbalance"].get<double>());
        }
        printf("\n");
    }
    if (json.contains("sections")) {
        printf("sections   of format version %d, in bytes\n", json["format_version"].get<int>());
        for (const Json& section : json["sections"]) {
            printf("  %-16s %12lld\n", section["name"].get<std::string>().c_str(),
                   section["bytes"].get<long long>());
        }
    }
}

Json run_devices() {
    Json json;
    Json list = Json::array();
    for (const DeviceInfo& device : list_devices()) {
        list.push_back({{"name", device.name},
                        {"type", device.type == DeviceType::kGpu   ? "GPU"
                                 : device.type == DeviceType::kCpu ? "CPU"
                                                                   : "other"},
                        {"platform", device.platform},
                        {"version", device.version},
                        {"driver", device.driver},
                        {"compute_units", device.compute_units},
                        {"global_memory", device.global_mem},
                        {"max_work_group", device.max_work_group}});
    }
    json["devices"] = list;
    json["simd"] = simd().name;
    for (const char* const* level = simd_levels(); *level; level++) {
        json["simd_levels"].push_back(*level);
    }
    return json;
}

void print_devices(const Json& json) {
    printf("auto       the first of these, GPUs before CPUs; the reference if there is none\n"
           "reference  plain C++\n"
           "opencl-all all that are of the first one's type and platform; or "
           "opencl-all:<part of a name>\n");
    for (const Json& device : json["devices"]) {
        printf("opencl:%s\n           %s, %u compute units, %.1f GB, %s, %s\n",
               device["name"].get<std::string>().c_str(), device["type"].get<std::string>().c_str(),
               device["compute_units"].get<unsigned>(), device["global_memory"].get<double>() / 1e9,
               device["platform"].get<std::string>().c_str(),
               device["version"].get<std::string>().c_str());
    }
    std::string levels;
    for (const Json& level : json["simd_levels"]) {
        levels += (levels.empty() ? "" : ", ") + level.get<std::string>();
    }
    printf("SIMD       %s, of %s\n", json["simd"].get<std::string>().c_str(), levels.c_str());
}

} // namespace

void add_info_command(CLI::App& app, Job& job) {
    auto* command = app.add_subcommand("info", "Describe an index, or list what this machine has");
    auto a = std::make_shared<Arguments>();
    auto* what = command->add_option_group("what");
    what->add_option("--idx", a->index, "The index")->type_name("FILE");
    what->add_flag("--devices", a->devices,
                   "List the devices that --device can name, and the levels of VLC_SIMD");
    what->require_option(1);
    add_json_option(*command, job);
    command->callback([a, &job] {
        if (a->devices) {
            job.run = run_devices;
            job.print = print_devices;
        } else {
            job.run = [a] { return run_index(a->index); };
            job.print = print_index;
        }
    });
}

} // namespace faiss_vlc::cli
