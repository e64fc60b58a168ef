// JSON of a bundle, which may come from anybody: no repeated keys, a bound on nesting.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace bmc {

using Json = nlohmann::json;

/// Returns the value in a text; `what` names the text in messages.
///
/// Throws Error if the text is not JSON in UTF-8, repeats a key in an object, or is nested deeper
/// than 64 levels.
Json parse_json(const std::string& text, const std::string& what);

/// Returns the form of a manifest over which its digest is computed: sorted keys, no spaces, ASCII,
/// numbers as Python writes them, without the key "digest".
std::string canonical(const Json& manifest);

/// Returns a member of an object, with its type checked.
///
/// Throws Error if the member is missing or has another type. Integers are of 64 bits, from 0.
const Json& member(const Json& object, const char* key, const std::string& what);
std::string text_of(const Json& object, const char* key, const std::string& what);
std::int64_t size_of(const Json& object, const char* key, const std::string& what,
                     std::int64_t largest);
bool flag_of(const Json& object, const char* key, bool otherwise, const std::string& what);

}  // namespace bmc
