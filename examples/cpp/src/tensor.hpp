// Arrays of numbers with the dtypes of numpy, and what is said of them in a manifest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bmc {

enum class DType {
  kFloat16, kFloat32, kFloat64, kBool, kInt8, kInt16, kInt32, kInt64, kUint8, kUint16, kUint32,
  kUint64
};

/// Returns the dtype that numpy and manifests call so; throws Error for other names.
DType dtype_named(const std::string& name);
const char* name_of(DType dtype);
std::size_t item_size(DType dtype);

using Shape = std::vector<std::int64_t>;

struct Tensor {
  DType dtype = DType::kFloat32;
  Shape shape;
  std::vector<std::byte> bytes;  // in C order

  std::size_t size() const { return bytes.size() / item_size(dtype); }

  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }

  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }

  /// Returns a value of any dtype as a double; large integers lose digits.
  double value(std::size_t index) const;
};

using Tensors = std::map<std::string, Tensor>;

/// Returns a tensor of zeros.
Tensor zeros(DType dtype, Shape shape);

/// An axis: a size, or the name of an axis of any size.
struct Axis {
  std::int64_t size = 0;  // 0 for a name
  std::string name;
};

struct TensorInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<Axis> shape;

  /// Returns whether a tensor has this dtype and these axes.
  bool fits(const Tensor& tensor) const;

  /// Returns "float32 (batch, 2)", for messages.
  std::string in_words() const;
};

/// Returns "float32 (4, 2)", for messages.
std::string in_words(const Tensor& tensor);

}  // namespace bmc
