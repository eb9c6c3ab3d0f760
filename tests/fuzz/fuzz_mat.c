/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a MAT-file of MatConvNet.
 */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_reader(&imp_reader_mat, data, size);
}
