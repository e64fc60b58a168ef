// A runtime loads the model of a bundle and runs tensors.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bundle.hpp"
#include "tensor.hpp"

namespace bmc {

/// A loaded model; several threads may call `run` at the same time.
class Session {
 public:
  virtual ~Session() = default;

  /// Computes all outputs; `inputs` are the inputs of the manifest, by name.
  virtual Tensors run(const Tensors& inputs) = 0;
};

struct Runtime {
  std::string target;   // of the bundles that it loads
  std::string name;     // for people
  std::string version;
  /// Loads a bundle's model; 0 threads leave the choice to the runtime.
  std::function<std::unique_ptr<Session>(const Bundle&, int threads)> load;
};

Runtime onnx_runtime();      // of the library bmc_onnx
Runtime openvino_runtime();  // of the library bmc_openvino

/// Throws Error unless a loaded model has the inputs and outputs of its manifest.
void check_names(const Bundle& bundle, std::vector<std::string> inputs,
                 std::vector<std::string> outputs);

}  // namespace bmc
