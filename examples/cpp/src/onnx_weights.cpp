#include "onnx_weights.hpp"

#include <cstdint>

namespace bmc {
namespace {

constexpr std::size_t kLarge = std::size_t{1} << 20;  // bytes
// Numbers of fields in onnx.proto: ModelProto, GraphProto, TensorProto, StringStringEntryProto.
constexpr unsigned kGraph = 7, kInitializer = 5;
constexpr unsigned kRaw = 9, kExternal = 13, kLocation = 14;
constexpr unsigned kKey = 1, kValue = 2;
constexpr unsigned kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;  // wire types

struct Damaged {};

/// A field of a protobuf message: its bytes as they stand, and its value.
struct Field {
  unsigned number = 0, wire = 0;
  std::uint64_t value = 0;    // kVarint
  std::string_view content;   // kBytes
  std::string_view encoded;
};

/// Reads the fields of a protobuf message one after another; throws Damaged where it is cut short.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::string_view start = rest_;
    const std::uint64_t tag = varint();
    field = {static_cast<unsigned>(tag >> 3), static_cast<unsigned>(tag & 7), 0, {}, {}};
    switch (field.wire) {
      case kVarint: field.value = varint(); break;
      case kFixed64: take(8); break;
      case kBytes: field.content = take(varint()); break;
      case kFixed32: take(4); break;
      default: throw Damaged{};
    }
    field.encoded = start.substr(0, start.size() - rest_.size());
    return true;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw Damaged{};
  }

  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) throw Damaged{};
    const std::string_view part = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(part.size());
    return part;
  }

  std::string_view rest_;
};

void append_varint(std::string& bytes, std::uint64_t value) {
  for (; value > 127; value >>= 7) bytes += static_cast<char>((value & 127) | 128);
  bytes += static_cast<char>(value);
}

void append_bytes(std::string& bytes, unsigned number, std::string_view content) {
  append_varint(bytes, number << 3 | kBytes);
  append_varint(bytes, content.size());
  bytes += content;
}

/// A file, and its name in its folder.
struct File {
  std::string_view bytes;
  std::string name;
};

/// Returns an initializer that refers to its bytes in the file; nothing for a small one.
std::optional<std::string> referring(std::string_view tensor, const File& file) {
  if (tensor.size() < kLarge) return std::nullopt;
  std::string rest;
  std::string_view raw;
  Message message(tensor);
  for (Field field; message.next(field);) {
    if (field.number == kExternal || field.number == kLocation) return std::nullopt;
    if (field.number == kRaw) {
      raw = field.content;
    } else {
      rest += field.encoded;
    }
  }
  if (raw.size() < kLarge) return std::nullopt;
  auto add = [&rest](std::string_view key, std::string_view value) {
    std::string entry;
    append_bytes(entry, kKey, key);
    append_bytes(entry, kValue, value);
    append_bytes(rest, kExternal, entry);
  };
  add("location", file.name);
  add("offset", std::to_string(raw.data() - file.bytes.data()));
  add("length", std::to_string(raw.size()));
  append_varint(rest, kLocation << 3 | kVarint);
  append_varint(rest, 1);  // EXTERNAL
  return rest;
}

std::string referring_graph(std::string_view graph, const File& file, bool& is_changed) {
  std::string result;
  Message message(graph);
  for (Field field; message.next(field);) {
    std::optional<std::string> tensor;
    if (field.number == kInitializer) tensor = referring(field.content, file);
    if (tensor) {
      append_bytes(result, kInitializer, *tensor);
      is_changed = true;
    } else {
      result += field.encoded;
    }
  }
  return result;
}

}  // namespace

std::optional<std::string> without_large_weights(std::string_view model, const std::string& name) {
  const File file{model, name};
  std::string result;
  bool is_changed = false;
  try {
    Message message(model);
    for (Field field; message.next(field);) {
      if (field.number == kGraph) {
        append_bytes(result, kGraph, referring_graph(field.content, file, is_changed));
      } else {
        result += field.encoded;
      }
    }
  } catch (const Damaged&) {
    return std::nullopt;
  }
  if (!is_changed) return std::nullopt;
  return result;
}

}  // namespace bmc
