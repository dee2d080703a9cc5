#pragma once

#include <functional>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

/// For tests of failing devices: while it holds a function, make_engine returns what that makes for
/// the device string. Not to be changed while engines are made in other threads.
using EngineFactory = std::function<std::unique_ptr<Engine>(const std::string& device)>;
EngineFactory& engine_factory_for_tests();

} // namespace faiss_vlc
