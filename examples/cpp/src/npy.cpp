#include "npy.hpp"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "error.hpp"

namespace bmc {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{512} << 20;
constexpr std::size_t kMaxAxes = 8, kMaxArrays = 64;
constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::string_view kSuffix = ".npy";
constexpr std::size_t kEndBytes = 22, kEntryBytes = 46, kLocalBytes = 30;
constexpr unsigned kStored = 0, kDeflated = 8;

/// Reads little-endian numbers and parts of a file, and refuses what lies beyond its end.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  [[noreturn]] void refuse(const std::string& reason) const {
    throw Error(what_ + " is not a file of plain arrays: " + reason);
  }

  std::string_view part(std::size_t offset, std::size_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) refuse("it is cut short");
    return bytes_.substr(offset, size);
  }

  std::uint32_t number(std::size_t offset, std::size_t size) const {
    std::uint32_t value = 0;
    const std::string_view digits = part(offset, size);
    for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  }

  std::size_t size() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  std::string what_;
};

/// Returns the value of a key in the header of a .npy file, a dictionary in Python's syntax.
std::string_view entry(const Reader& reader, std::string_view header, std::string_view key) {
  const std::string quoted_key = "'" + std::string(key) + "':";
  const std::size_t start = header.find(quoted_key);
  if (start == header.npos) reader.refuse("its header has no " + std::string(key));
  std::string_view value = header.substr(start + quoted_key.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const char closing = !value.empty() && value[0] == '(' ? ')' : ',';
  const std::size_t end = value.find(closing);
  if (end == value.npos) reader.refuse("its header is cut short");
  return value.substr(0, end);
}

DType dtype_of(const Reader& reader, std::string_view description) {
  if (description.size() < 5) reader.refuse("it has no dtype");
  const std::string_view code = description.substr(1, description.size() - 2);  // without quotes
  const char order = code[0];
  constexpr std::pair<std::string_view, DType> kCodes[] = {
      {"f2", DType::kFloat16}, {"f4", DType::kFloat32}, {"f8", DType::kFloat64},
      {"b1", DType::kBool},    {"i1", DType::kInt8},    {"i2", DType::kInt16},
      {"i4", DType::kInt32},   {"i8", DType::kInt64},   {"u1", DType::kUint8},
      {"u2", DType::kUint16},  {"u4", DType::kUint32},  {"u8", DType::kUint64}};
  for (const auto& [letters, dtype] : kCodes) {
    if (code.substr(1) == letters && (order == '<' || order == '|')) return dtype;
  }
  reader.refuse("an array of " + in_quotes(std::string(code)) +
                "; numbers with the lowest byte first are read");
}

Shape shape_of(const Reader& reader, std::string_view text) {
  Shape shape;
  const char* position = text.data() + 1;  // after the parenthesis
  const char* end = text.data() + text.size();
  while (true) {
    while (position != end && (*position == ' ' || *position == ',')) ++position;
    if (position == end) return shape;
    std::int64_t size = 0;
    const auto [next, error] = std::from_chars(position, end, size);
    const bool is_size = error == std::errc() && size >= 0;
    if (!is_size || static_cast<std::size_t>(size) > kMaxBytes || shape.size() == kMaxAxes) {
      reader.refuse("its shape is " + in_quotes(std::string(text)));
    }
    shape.push_back(size);
    position = next;
  }
}

/// Returns the number of bytes of an array; refuses an array beyond the limit.
std::size_t bytes_of(const Reader& reader, DType dtype, const Shape& shape) {
  std::size_t bytes = item_size(dtype);
  for (const std::int64_t size : shape) {
    bytes *= static_cast<std::size_t>(size);
    if (bytes > kMaxBytes) reader.refuse("an array has more than 512 MiB");
  }
  return bytes;
}

/// Copies an array whose first axis is the fastest (Fortran order) into C order.
void copy_fortran(Tensor& tensor, const char* source) {
  const std::size_t item = item_size(tensor.dtype), axes = tensor.shape.size();
  Shape index(axes, 0);
  for (std::size_t number = 0; number < tensor.size(); ++number) {
    std::size_t place = 0;
    for (std::size_t axis = axes; axis-- > 0;) {
      place = place * static_cast<std::size_t>(tensor.shape[axis]) +
              static_cast<std::size_t>(index[axis]);
    }
    std::memcpy(tensor.bytes.data() + number * item, source + place * item, item);
    for (std::size_t axis = axes; axis-- > 0;) {
      if (++index[axis] < tensor.shape[axis]) break;
      index[axis] = 0;
    }
  }
}

/// Inflates the bytes of an entry, of which the size is known.
std::string inflated(const Reader& reader, std::string_view packed, std::size_t size) {
  std::string bytes(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) reader.refuse("zlib cannot be started");
  // zlib does not change its input.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(size);
  const int code = inflate(&stream, Z_FINISH);
  const bool is_whole = code == Z_STREAM_END && stream.total_out == size;
  inflateEnd(&stream);
  if (!is_whole) reader.refuse("an array cannot be unpacked");
  return bytes;
}

}  // namespace

Tensor parse_npy(std::string_view bytes, const std::string& what) {
  const Reader reader(bytes, what);
  if (reader.part(0, kMagic.size()) != kMagic) reader.refuse("it is not written by numpy");
  const std::size_t length_bytes = reader.number(6, 1) == 1 ? 2 : 4;  // of version 1; of later ones
  const std::size_t start = 8 + length_bytes;
  const std::string_view header = reader.part(start, reader.number(8, length_bytes));
  Tensor tensor;
  tensor.dtype = dtype_of(reader, entry(reader, header, "descr"));
  tensor.shape = shape_of(reader, entry(reader, header, "shape"));
  tensor.bytes.resize(bytes_of(reader, tensor.dtype, tensor.shape));
  const std::size_t data = start + header.size();
  if (reader.size() - data != tensor.bytes.size()) reader.refuse("its size and shape differ");
  const std::string_view values = reader.part(data, tensor.bytes.size());
  if (entry(reader, header, "fortran_order") == "True") {
    copy_fortran(tensor, values.data());
  } else if (!values.empty()) {
    std::memcpy(tensor.bytes.data(), values.data(), values.size());
  }
  return tensor;
}

// Source: PKWARE, APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
Tensors parse_npz(std::string_view bytes, const std::string& what) {
  const Reader reader(bytes, what);
  if (reader.size() < kEndBytes) reader.refuse("it is not a zip file");
  const std::size_t end = reader.size() - kEndBytes;
  if (reader.number(end, 4) != 0x06054b50) reader.refuse("it is not a zip file, or has a comment");
  const std::size_t count = reader.number(end + 10, 2);
  if (count > kMaxArrays) reader.refuse("it holds more than 64 arrays");
  std::size_t entry_start = reader.number(end + 16, 4), total = 0;
  Tensors tensors;
  for (std::size_t i = 0; i < count; ++i) {
    if (reader.number(entry_start, 4) != 0x02014b50) reader.refuse("its directory is damaged");
    const std::uint32_t method = reader.number(entry_start + 10, 2);
    const std::uint32_t checksum = reader.number(entry_start + 16, 4);
    const std::size_t packed_size = reader.number(entry_start + 20, 4);
    const std::size_t size = reader.number(entry_start + 24, 4);
    const std::size_t name_size = reader.number(entry_start + 28, 2);
    const std::size_t local = reader.number(entry_start + 42, 4);
    std::string name(reader.part(entry_start + kEntryBytes, name_size));
    total += size;
    if (total > kMaxBytes) reader.refuse("unpacked it would take more than 512 MiB");
    const std::size_t data = local + kLocalBytes + reader.number(local + 26, 2) +
                             reader.number(local + 28, 2);
    const std::string_view packed = reader.part(data, packed_size);
    if (method != kStored && method != kDeflated) reader.refuse("an unknown compression");
    const std::string array =
        method == kDeflated ? inflated(reader, packed, size) : std::string(packed);
    const auto* start = reinterpret_cast<const Bytef*>(array.data());
    if (array.size() != size || crc32(0, start, static_cast<uInt>(size)) != checksum) {
      reader.refuse("the checksum of " + in_quotes(name) + " differs");
    }
    const bool has_suffix = name.size() > kSuffix.size() &&
                            name.compare(name.size() - kSuffix.size(), name.npos, kSuffix) == 0;
    if (has_suffix) name.resize(name.size() - kSuffix.size());
    if (!tensors.emplace(name, parse_npy(array, what)).second) {
      reader.refuse("two arrays have the name " + in_quotes(name));
    }
    entry_start += kEntryBytes + name_size + reader.number(entry_start + 30, 2) +
                   reader.number(entry_start + 32, 2);
  }
  return tensors;
}

}  // namespace bmc
