// ONNX Runtime on the CPU.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "error.hpp"
#include "onnx_weights.hpp"
#include "runtime.hpp"

namespace bmc {
namespace {

constexpr std::uintmax_t kMaxRead = std::uintmax_t{512} << 20;  // bytes of a model's file
constexpr char kFolderOfWeights[] = "session.model_external_initializers_file_folder_path";

// In the order of DType.
constexpr std::array<ONNXTensorElementDataType, 12> kTypes{
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,  ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,   ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,   ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64};

DType dtype_of(ONNXTensorElementDataType type) {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i] == type) return static_cast<DType>(i);
  }
  throw Error("the model has an output that is not a tensor of numbers");
}

Tensor copied(const Ort::Value& value) {
  const auto info = value.GetTensorTypeAndShapeInfo();
  Tensor tensor = zeros(dtype_of(info.GetElementType()), info.GetShape());
  if (!tensor.bytes.empty()) {
    std::memcpy(tensor.bytes.data(), value.GetTensorRawData(), tensor.bytes.size());
  }
  return tensor;
}

Ort::SessionOptions options_of(int threads) {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(threads);
  options.SetInterOpNumThreads(1);
  options.SetLogSeverityLevel(3);
  return options;
}

/// Loads a model whose large weights are mapped, which halves the memory that loading takes.
Ort::Session session_of(const Ort::Env& environment, const Bundle& bundle, int threads) {
  const std::filesystem::path path = bundle.model_path();
  Ort::SessionOptions options = options_of(threads);
  if (std::filesystem::file_size(path) <= kMaxRead) {
    const auto model = without_large_weights(bundle.content(bundle.manifest.model),
                                             path.filename().string());
    try {
      if (model) {
        const std::string folder = std::filesystem::absolute(path).parent_path().string();
        options.AddConfigEntry(kFolderOfWeights, folder.c_str());
        return {environment, model->data(), model->size(), options};
      }
    } catch (const Ort::Exception&) {  // of a version that does not know the entry
      options = options_of(threads);
    }
  }
  return {environment, path.c_str(), options};
}

class OnnxSession final : public Session {
 public:
  OnnxSession(const Bundle& bundle, int threads)
      : environment_(ORT_LOGGING_LEVEL_ERROR, "bmc"),
        memory_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)),
        session_(session_of(environment_, bundle, threads)) {
    const Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t i = 0; i < session_.GetInputCount(); ++i) {
      inputs_.emplace_back(session_.GetInputNameAllocated(i, allocator).get());
    }
    for (std::size_t i = 0; i < session_.GetOutputCount(); ++i) {
      outputs_.emplace_back(session_.GetOutputNameAllocated(i, allocator).get());
    }
    check_names(bundle, inputs_, outputs_);
  }

  Tensors run(const Tensors& inputs) override {
    std::vector<Ort::Value> values;
    std::vector<const char*> input_names, output_names;
    for (const std::string& name : inputs_) {
      const Tensor& tensor = inputs.at(name);
      // ONNX Runtime reads inputs, and takes them by a pointer that is not const.
      void* data = const_cast<std::byte*>(tensor.bytes.data());
      values.push_back(Ort::Value::CreateTensor(memory_, data, tensor.bytes.size(),
                                                tensor.shape.data(), tensor.shape.size(),
                                                kTypes[static_cast<std::size_t>(tensor.dtype)]));
      input_names.push_back(name.c_str());
    }
    for (const std::string& name : outputs_) output_names.push_back(name.c_str());
    Tensors outputs;
    try {
      const auto results =
          session_.Run(Ort::RunOptions{nullptr}, input_names.data(), values.data(), values.size(),
                       output_names.data(), output_names.size());
      for (std::size_t i = 0; i < results.size(); ++i) {
        outputs.emplace(outputs_[i], copied(results[i]));
      }
    } catch (const Ort::Exception& error) {
      throw Error(std::string("ONNX Runtime cannot run the model: ") + error.what());
    }
    return outputs;
  }

 private:
  Ort::Env environment_;
  Ort::MemoryInfo memory_;
  Ort::Session session_;
  std::vector<std::string> inputs_, outputs_;
};

std::unique_ptr<Session> load(const Bundle& bundle, int threads) {
  try {
    return std::make_unique<OnnxSession>(bundle, threads);
  } catch (const Ort::Exception& error) {
    throw Error("ONNX Runtime cannot load " + bundle.model_path().string() + ": " + error.what());
  }
}

}  // namespace

Runtime onnx_runtime() { return {"onnx", "ONNX Runtime", Ort::GetVersionString(), load}; }

}  // namespace bmc
