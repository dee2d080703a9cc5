#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <faiss_vlc/index/device_kind.h>
#include <faiss_vlc/train/reference_assigner.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/shared/devices_assigner.h>
#include <faiss_vlc/train/shared/devices_engine.h>

/// Devices that tests play.
namespace faiss_vlc {

/// A kind of device that has every device string, made of functions.
class TestKind final : public DeviceKind {
public:
    using MakeEngine = std::function<std::unique_ptr<Engine>(const std::string& device)>;
    using MakeAssigner = std::function<std::unique_ptr<Assigner>(const std::string& device)>;

    TestKind(MakeEngine engine, MakeAssigner assigner)
        : engine_(std::move(engine)), assigner_(std::move(assigner)) {}

    std::unique_ptr<Engine> make_engine(const std::string& device, int) const override {
        return engine_(device);
    }
    std::unique_ptr<Assigner> make_assigner(const std::string& device, int) const override {
        return assigner_(device);
    }
    bool outruns_host(const std::string&, double) const override { return true; }

private:
    MakeEngine engine_;
    MakeAssigner assigner_;
};

/// `count` of One, as one.
template <class One, class Interface, class Several>
std::unique_ptr<Several> several(int count) {
    std::vector<std::unique_ptr<Interface>> made(count);
    for (std::unique_ptr<Interface>& one : made) {
        one = std::make_unique<One>();
    }
    return std::make_unique<Several>(std::move(made));
}

template <class One = ReferenceEngine>
std::unique_ptr<DevicesEngine> several_engines(int count) {
    return several<One, Engine, DevicesEngine>(count);
}

template <class One = ReferenceAssigner>
std::unique_ptr<DevicesAssigner> several_assigners(int count) {
    return several<One, Assigner, DevicesAssigner>(count);
}

} // namespace faiss_vlc
