// Half of the warp waits for the warp, and the rest for the block.
SUBJECT {
    if (threadIdx.x < 16) __syncwarp(); else __syncthreads();
    output[threadIdx.x] = input[threadIdx.x];
}
