// The command line of the two programs.
#pragma once

#include "runtime.hpp"

namespace bmc {

/// Runs a command line; returns 0, 1 if a check failed, or 2 if something cannot be used.
int run_program(int count, char** words, const Runtime& runtime);

}  // namespace bmc
