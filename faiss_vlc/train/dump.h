#pragma once

#include <string>

#include <faiss_vlc/train/engine.h>

namespace faiss_vlc {

struct Anchors;

/// Writes every intermediate of training as .npy files into a folder, for small runs that a person
/// wants to follow. With an empty folder name it does nothing.
class Dump {
public:
    explicit Dump(const std::string& folder);
    /// iteration_<t>_{label,dist,count,energy,weight,anchor,spread,bias}.npy
    void iteration(int t, Engine& engine, const Shape& shape);
    /// result_{anchor,label,dist,count,energy,covariance}.npy, the last if there is one
    void result(const Anchors& anchors, const Shape& shape);

private:
    std::string folder_;
};

} // namespace faiss_vlc
