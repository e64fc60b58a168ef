#include "tensor.hpp"

#include <array>
#include <cmath>
#include <cstring>

#include "error.hpp"

namespace bmc {
namespace {

struct Kind {
  const char* name;
  std::size_t bytes;
};

// In the order of the enumeration.
constexpr std::array<Kind, 12> kKinds{{{"float16", 2}, {"float32", 4}, {"float64", 8}, {"bool", 1},
                                       {"int8", 1}, {"int16", 2}, {"int32", 4}, {"int64", 8},
                                       {"uint8", 1}, {"uint16", 2}, {"uint32", 4}, {"uint64", 8}}};

const Kind& kind_of(DType dtype) { return kKinds[static_cast<std::size_t>(dtype)]; }

template <typename T>
T item(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

double half(const std::byte* bytes) {
  const auto bits = item<std::uint16_t>(bytes);
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 0) value = std::ldexp(fraction, -24);
  if (exponent == 31) value = fraction ? std::nan("") : HUGE_VAL;
  return bits >> 15 ? -value : value;
}

std::string axes(const std::vector<std::string>& sizes) {
  std::string text = " (";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + sizes[i];
  return text + ")";
}

}  // namespace

DType dtype_named(const std::string& name) {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (name == kKinds[i].name) return static_cast<DType>(i);
  }
  throw Error("the dtype " + in_quotes(name) + " is not one of numpy's numbers");
}

const char* name_of(DType dtype) { return kind_of(dtype).name; }

std::size_t item_size(DType dtype) { return kind_of(dtype).bytes; }

double Tensor::value(std::size_t index) const {
  const std::byte* place = bytes.data() + index * item_size(dtype);
  switch (dtype) {
    case DType::kFloat16: return half(place);
    case DType::kFloat32: return static_cast<double>(item<float>(place));
    case DType::kFloat64: return item<double>(place);
    case DType::kBool: return item<std::uint8_t>(place) != 0 ? 1.0 : 0.0;
    case DType::kInt8: return item<std::int8_t>(place);
    case DType::kInt16: return item<std::int16_t>(place);
    case DType::kInt32: return item<std::int32_t>(place);
    case DType::kInt64: return static_cast<double>(item<std::int64_t>(place));
    case DType::kUint8: return item<std::uint8_t>(place);
    case DType::kUint16: return item<std::uint16_t>(place);
    case DType::kUint32: return item<std::uint32_t>(place);
    case DType::kUint64: return static_cast<double>(item<std::uint64_t>(place));
  }
  throw Error("a tensor has an unknown dtype");
}

Tensor zeros(DType dtype, Shape shape) {
  std::size_t size = item_size(dtype);
  for (const std::int64_t axis : shape) size *= static_cast<std::size_t>(axis);
  return {dtype, std::move(shape), std::vector<std::byte>(size)};
}

bool TensorInfo::fits(const Tensor& tensor) const {
  if (tensor.dtype != dtype || tensor.shape.size() != shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].size != 0 && shape[i].size != tensor.shape[i]) return false;
  }
  return true;
}

std::string TensorInfo::in_words() const {
  std::vector<std::string> sizes;
  for (const Axis& axis : shape) {
    sizes.push_back(axis.size != 0 ? std::to_string(axis.size) : axis.name);
  }
  return name_of(dtype) + axes(sizes);
}

std::string in_words(const Tensor& tensor) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : tensor.shape) sizes.push_back(std::to_string(size));
  return name_of(tensor.dtype) + axes(sizes);
}

}  // namespace bmc
