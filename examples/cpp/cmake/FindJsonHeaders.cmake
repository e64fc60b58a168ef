# Finds nlohmann/json.hpp of Debian's nlohmann-json3-dev or vcpkg's nlohmann-json, or in JSON_ROOT,
# the folder with nlohmann/. Defines JsonHeaders::JsonHeaders.

find_path(JSON_INCLUDE_DIR nlohmann/json.hpp HINTS "${JSON_ROOT}")

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(JsonHeaders
  REQUIRED_VARS JSON_INCLUDE_DIR
  FAIL_MESSAGE "nlohmann/json.hpp was not found: apt install nlohmann-json3-dev, or set JSON_ROOT")

if(JsonHeaders_FOUND AND NOT TARGET JsonHeaders::JsonHeaders)
  add_library(JsonHeaders::JsonHeaders INTERFACE IMPORTED)
  set_target_properties(JsonHeaders::JsonHeaders PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${JSON_INCLUDE_DIR}")
endif()
