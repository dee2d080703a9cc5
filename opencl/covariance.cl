// Around the matrix product of residuals that CLBlast does: floats of small integers, so exact.

// residual[i][k] = x - a8 in floats for the sample rows picked[first + i], zero from `picks` on.
// One work-item per 4 dimensions of a row.
__kernel void residual_rows(__global const char* sample, __global const char* anchor8,
                            __global const int* label, __global const int* picked, int picks,
                            int neighbours, int dp, int first, int count,
                            __global float* residual) {
    const int groups = dp / 4;
    const size_t id = get_global_id(0);
    if (id >= (size_t)count * groups) {
        return;
    }
    const int i = first + (int)(id / groups);
    const int k = (int)(id % groups) * 4;
    int4 difference = 0;
    if (i < picks) {
        const size_t row = picked[i];
        const size_t j = label[row * neighbours];
        difference = convert_int4(vload4(0, sample + row * dp + k)) -
                     convert_int4(vload4(0, anchor8 + j * dp + k));
    }
    vstore4(convert_float4(difference), id, residual);
}

// sums += the products of `batch` matrices of `size` numbers, each an integer below 2^24.
__kernel void add_products(__global const float* product, int size, int batch,
                           __global long* sums) {
    const size_t at = get_global_id(0);
    if (at >= (size_t)size) {
        return;
    }
    long total = sums[at];
    for (int b = 0; b < batch; b++) {
        total += (int)product[(size_t)b * size + at];
    }
    sums[at] = total;
}
