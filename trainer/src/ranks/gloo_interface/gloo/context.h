#pragma once
// Stand-ins for the types of Gloo that `ProcessGroupGloo.hpp` names. libtorch contains Gloo and the wheel has its own headers but
// not Gloo's. The shim makes none of these and looks into none of them: only shared pointers to them are members of what it
// makes, so that their layout does not matter here.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
} // namespace gloo
