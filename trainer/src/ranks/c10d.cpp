// PyTorch's collectives behind a C interface: `c10d.rs` is the other half, and says what each function does.
//
// No exception crosses: a function returns null, or a message that the caller frees with `rltrain_c10d_free`.

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef RLTRAIN_NCCL
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace {

using Milliseconds = std::chrono::milliseconds;

struct StoreHandle {
  c10::intrusive_ptr<c10d::Store> store;
};

struct GroupHandle {
  c10::intrusive_ptr<c10d::Backend> backend;
};

struct WorkHandle {
  c10::intrusive_ptr<c10d::Work> work;
  // Kept until the work is done.
  std::vector<at::Tensor> tensors;
};

char* copied(const void* bytes, size_t count) {
  char* copy = static_cast<char*>(std::malloc(count + 1));
  if (copy != nullptr) {
    std::memcpy(copy, bytes, count);
    copy[count] = 0;
  }
  return copy;
}

// What went wrong, without the trace of calls that libtorch adds in further lines.
char* message_of(const std::string& what) {
  const std::string line = what.substr(0, what.find('\n'));
  return copied(line.data(), line.size());
}

template <typename Body>
char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return message_of(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return message_of(error.what());
  } catch (...) {
    return message_of("an exception that is none of the standard library's");
  }
}

WorkHandle* handle_of(c10::intrusive_ptr<c10d::Work> work, std::vector<at::Tensor> tensors) {
  return new WorkHandle{std::move(work), std::move(tensors)};
}

} // namespace

extern "C" {

void rltrain_c10d_free(char* bytes) { std::free(bytes); }

char* rltrain_c10d_store(
    const char* host, uint16_t port, bool serves, int64_t timeout_ms, const char* prefix, StoreHandle** out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.waitWorkers = false;
    options.timeout = Milliseconds(timeout_ms);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *out = new StoreHandle{c10::make_intrusive<c10d::PrefixStore>(prefix, store)};
  });
}

void rltrain_c10d_store_drop(StoreHandle* store) { delete store; }

char* rltrain_c10d_store_set(StoreHandle* store, const char* key, const uint8_t* bytes, size_t count) {
  return guarded([&] { store->store->set(key, std::vector<uint8_t>(bytes, bytes + count)); });
}

char* rltrain_c10d_store_set_once(
    StoreHandle* store, const char* key, const uint8_t* bytes, size_t count, char** held, size_t* held_count) {
  return guarded([&] {
    const auto value = store->store->compareSet(key, {}, std::vector<uint8_t>(bytes, bytes + count));
    *held = copied(value.data(), value.size());
    *held_count = value.size();
  });
}

char* rltrain_c10d_store_has(StoreHandle* store, const char* key, bool* out) {
  return guarded([&] { *out = store->store->check({key}); });
}

char* rltrain_c10d_store_wait(StoreHandle* store, const char* key, int64_t timeout_ms) {
  return guarded([&] { store->store->wait({key}, Milliseconds(timeout_ms)); });
}

char* rltrain_c10d_store_get(StoreHandle* store, const char* key, char** out, size_t* count) {
  return guarded([&] {
    const auto value = store->store->get(key);
    *out = copied(value.data(), value.size());
    *count = value.size();
  });
}

char* rltrain_c10d_group(
    StoreHandle* store, const char* prefix, int rank, int world, bool cuda, int64_t timeout_ms, GroupHandle** out) {
  return guarded([&] {
    auto own = c10::make_intrusive<c10d::PrefixStore>(prefix, store->store);
    if (cuda) {
#ifdef RLTRAIN_NCCL
      auto options = c10d::ProcessGroupNCCL::Options::create();
      options->timeout = Milliseconds(timeout_ms);
      *out = new GroupHandle{c10::make_intrusive<c10d::ProcessGroupNCCL>(own, rank, world, options)};
      return;
#else
      throw std::runtime_error("this build has no NCCL");
#endif
    }
    auto options = c10d::ProcessGroupGloo::Options::create_default(Milliseconds(timeout_ms));
    *out = new GroupHandle{c10::make_intrusive<c10d::ProcessGroupGloo>(own, rank, world, options)};
  });
}

void rltrain_c10d_group_drop(GroupHandle* group) { delete group; }

// `op`: 0 sum, 1 maximum.
char* rltrain_c10d_all_reduce(GroupHandle* group, at::Tensor* tensor, int op, WorkHandle** out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors = {*tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = op == 0 ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
    auto work = group->backend->allreduce(tensors, options);
    *out = handle_of(std::move(work), std::move(tensors));
  });
}

// The sum of all tensors is in that of `root` afterwards; the others hold parts of it.
char* rltrain_c10d_reduce(GroupHandle* group, at::Tensor* tensor, int root, WorkHandle** out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors = {*tensor};
    c10d::ReduceOptions options;
    options.reduceOp = c10d::ReduceOp::SUM;
    options.rootRank = root;
    auto work = group->backend->reduce(tensors, options);
    *out = handle_of(std::move(work), std::move(tensors));
  });
}

char* rltrain_c10d_all_gather(GroupHandle* group, at::Tensor* from, at::Tensor* into, WorkHandle** out) {
  return guarded([&] {
    at::Tensor input = *from, output = *into;
    auto work = group->backend->_allgather_base(output, input);
    *out = handle_of(std::move(work), {input, output});
  });
}

char* rltrain_c10d_broadcast(GroupHandle* group, at::Tensor* tensor, int root, WorkHandle** out) {
  return guarded([&] {
    std::vector<at::Tensor> tensors = {*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    auto work = group->backend->broadcast(tensors, options);
    *out = handle_of(std::move(work), std::move(tensors));
  });
}

// Waits for the work and drops it, whatever comes of it.
char* rltrain_c10d_wait(WorkHandle* work) {
  char* failed = guarded([&] { work->work->wait(); });
  delete work;
  return failed;
}

} // extern "C"
