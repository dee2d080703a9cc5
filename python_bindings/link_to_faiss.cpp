// Without code: what counts are the libraries that this one names, see CMakeLists.txt.
