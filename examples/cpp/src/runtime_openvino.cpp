// OpenVINO on the CPU.
#include <array>
#include <cstring>
#include <mutex>
#include <openvino/openvino.hpp>
#include <openvino/runtime/intel_cpu/properties.hpp>

#include "error.hpp"
#include "runtime.hpp"

namespace bmc {
namespace {

/// Returns OpenVINO's element type of a dtype.
ov::element::Type type_of(DType dtype) {
  static const std::array<ov::element::Type, 12> kTypes{  // in the order of DType
      ov::element::f16, ov::element::f32, ov::element::f64, ov::element::boolean,
      ov::element::i8,  ov::element::i16, ov::element::i32, ov::element::i64,
      ov::element::u8,  ov::element::u16, ov::element::u32, ov::element::u64};
  return kTypes[static_cast<std::size_t>(dtype)];
}

DType dtype_of(const ov::element::Type& type) {
  for (std::size_t i = 0; i < 12; ++i) {
    if (type_of(static_cast<DType>(i)) == type) return static_cast<DType>(i);
  }
  throw Error("the model has an output of the type " + type.get_type_name());
}

Tensor copied(const ov::Tensor& value) {
  const ov::Shape& sizes = value.get_shape();
  Tensor tensor = zeros(dtype_of(value.get_element_type()), Shape(sizes.begin(), sizes.end()));
  if (!tensor.bytes.empty()) {
    std::memcpy(tensor.bytes.data(), value.data(), tensor.bytes.size());
  }
  return tensor;
}

/// Returns the name of a tensor in the manifest; a tensor has several where a cast was removed.
template <typename Ports>
std::vector<std::string> names_of(const Ports& ports, const std::vector<TensorInfo>& infos) {
  std::vector<std::string> names;
  for (const auto& port : ports) {
    std::string name = port.get_any_name();
    for (const TensorInfo& info : infos) {
      if (port.get_names().count(info.name) > 0) name = info.name;
    }
    names.push_back(name);
  }
  return names;
}

class OpenVinoSession final : public Session {
 public:
  // Without the hint, OpenVINO runs fp32 files in bf16 on processors that have bf16. Weights below
  // 1e-38 count as 0: else OpenVINO looks for them in every weight, and all of model.bin is in memory.
  OpenVinoSession(const Bundle& bundle, int threads) {
    ov::AnyMap settings{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                        ov::num_streams(1), ov::hint::inference_precision(ov::element::f32),
                        ov::intel_cpu::denormals_optimization(true)};
    if (threads > 0) settings.insert(ov::inference_num_threads(threads));
    compiled_ = core_.compile_model(bundle.model_path().string(), "CPU", settings);
    request_ = compiled_.create_infer_request();
    inputs_ = names_of(compiled_.inputs(), bundle.manifest.inputs);
    outputs_ = names_of(compiled_.outputs(), bundle.manifest.outputs);
    check_names(bundle, inputs_, outputs_);
  }

  Tensors run(const Tensors& inputs) override {
    const std::lock_guard<std::mutex> guard(mutex_);  // a request serves one call at a time
    Tensors outputs;
    try {
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        const Tensor& tensor = inputs.at(inputs_[i]);
        const ov::Shape shape(tensor.shape.begin(), tensor.shape.end());
        // OpenVINO reads inputs, and takes them by a pointer that is not const.
        void* data = const_cast<std::byte*>(tensor.bytes.data());
        request_.set_input_tensor(i, ov::Tensor(type_of(tensor.dtype), shape, data));
      }
      request_.infer();
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        outputs.emplace(outputs_[i], copied(request_.get_output_tensor(i)));
      }
    } catch (const ov::Exception& error) {
      throw Error(std::string("OpenVINO cannot run the model: ") + error.what());
    }
    return outputs;
  }

 private:
  std::mutex mutex_;
  ov::Core core_;
  ov::CompiledModel compiled_;
  ov::InferRequest request_;
  std::vector<std::string> inputs_, outputs_;
};

std::unique_ptr<Session> load(const Bundle& bundle, int threads) {
  try {
    return std::make_unique<OpenVinoSession>(bundle, threads);
  } catch (const ov::Exception& error) {
    throw Error("OpenVINO cannot load " + bundle.model_path().string() + ": " + error.what());
  }
}

}  // namespace

Runtime openvino_runtime() {
  const std::string build = ov::get_openvino_version().buildNumber;
  return {"openvino", "OpenVINO", build.substr(0, build.find('-')), load};
}

}  // namespace bmc
