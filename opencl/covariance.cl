// The matrix product of residuals, where CLBlast doesn't do it, and what is around it: floats of
// small integers, so exact.

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

// product[b] = U^T U of block b, whose U has 256 rows: those at and below the diagonal. One
// work-item for 4 x 4 numbers.
__kernel void multiply_residuals(__global const float* residual, int dp, int blocks,
                                 __global float* product) {
    const size_t tiles = dp / 4;
    const size_t id = get_global_id(0);
    const size_t b = id / (tiles * tiles);
    const size_t k = id / tiles % tiles * 4, l = id % tiles * 4;
    if (b >= (size_t)blocks || l > k) {
        return;
    }
    float4 sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    __global const float* row = residual + b * 256 * dp;
    for (int i = 0; i < 256; i++, row += dp) {
        const float4 left = vload4(0, row + k);
        const float4 right = vload4(0, row + l);
        sum0 += left.x * right;
        sum1 += left.y * right;
        sum2 += left.z * right;
        sum3 += left.w * right;
    }
    __global float* out = product + (b * dp + k) * dp + l;
    vstore4(sum0, 0, out);
    vstore4(sum1, 0, out + dp);
    vstore4(sum2, 0, out + 2 * dp);
    vstore4(sum3, 0, out + 3 * dp);
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
