// Matrix products by register tiles, accumulated over the whole of K or over blocks of it.
//
// Every entry of C is a single chain of fused multiply-adds in the order of K, whatever the
// tiling: so the result is the same bit for bit however the work is divided among threads.
#pragma once

#include <utility>

#include "product.h"
#include "vector.h"

#if defined(CHAINRULE_512)
namespace chainrule {

void narrow_product(const Product<float>&);  // from narrow.cpp
void narrow_product(const Product<double>&);

}  // namespace chainrule
#endif

namespace chainrule::CHAINRULE_ISA {

#if defined(__AVX512F__)
constexpr int MAX_ROWS = 14;  // 28 registers of sums, 2 of B, 1 of A
#else
constexpr int MAX_ROWS = 6;  // 12 registers of sums, 2 of B, 1 of A
#endif
#if defined(CHAINRULE_HALF)
constexpr int MAX_VECTORS = 1;  // there are no more columns
#else
constexpr int MAX_VECTORS = 2;
#endif
constexpr long K_BLOCK = 512;

template <class T> struct Tile {
    long k;
    const T* a;
    long a_row, a_column;
    const T* b;
    long b_row;
    T* c;
    long c_row;
    const T* bias;
    bool first, last;  // block of K
    Epilogue epilogue;
    const T* slope_of;
    long tail;  // columns in the last vector; 0 stores all of it
    const T* const* samples;
    long a_from;
    T* sums;
    const int64_t* segments;  // of patches: where each begins
    long segment_count, segment_step;
};

// How A is read: by rows, by columns, either of these from the samples in place, or by rows of
// segments of k numbers each.
enum Reading { rows, columns, sample_rows, sample_columns, patches };

template <class T, int VECTORS> INLINE void store_sums(const Tile<T>& t, const Vec<T>* totals) {
    for (int j = 0; j < VECTORS; ++j)
        if (j + 1 < VECTORS || t.tail == 0) store(t.sums + j * WIDTH<T>, totals[j]);
        else store_part(t.sums + j * WIDTH<T>, totals[j], t.tail);
}

template <class T, int ROWS, int VECTORS, Reading READING, bool SUMS> void tile(const Tile<T>& t) {
    constexpr long W = WIDTH<T>;
    typedef Vec<T> V;
    V sums[ROWS][VECTORS];
    if (t.first) {
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; ++j) {
            const V begin = t.bias ? load(t.bias + j * W) : V{};
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; ++i) sums[i][j] = begin;
        }
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; ++j) {
                const T* so_far = t.c + i * t.c_row + j * W;
                sums[i][j] = j + 1 < VECTORS || t.tail == 0 ? load(so_far) : load_part(so_far, t.tail);
            }
    }
    const T* b = t.b;
    const long b_row = t.b_row;
    V totals[VECTORS] = {};
    if (SUMS && !t.first)
        for (int j = 0; j < VECTORS; ++j)
            totals[j] = j + 1 < VECTORS || t.tail == 0 ? load(t.sums + j * W) : load_part(t.sums + j * W, t.tail);
    // Adds the outer product of a column of A, whose entries are entry(i), and a row of B.
    const auto add = [&](const T* b, auto entry) INLINE_LAMBDA {
        V bs[VECTORS];
#pragma GCC unroll 2
        for (int j = 0; j < VECTORS; ++j) {
            bs[j] = load(b + j * W);
            if constexpr (SUMS) totals[j] += bs[j];
        }
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) {
            const V as = broadcast(entry(i));
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; ++j) sums[i][j] += as * bs[j];
        }
    };
    if constexpr (READING == columns || READING == sample_columns) {
        const T* a = t.a;
        const long a_column = t.a_column, a_from = t.a_from;
        for (long p = 0; p < t.k; ++p, b += b_row, a += a_column) {
            if constexpr (READING == sample_columns) {
                a = t.samples[p] + a_from;
                KEEP_TOGETHER(a);
            }
            add(b, [&](int i) { return a[i]; });
        }
    } else if constexpr (READING == sample_rows) {
        // four rows of B at a time: there are too few registers for a pointer to each row
        const T* const* samples = t.samples;
        long at = t.a_from;
        const long end = at + t.k;
        for (; at + 4 <= end; at += 4) {
#pragma GCC unroll 4
            for (int q = 0; q < 4; ++q, b += b_row) add(b, [&](int i) { return samples[i][at + q]; });
        }
        for (; at < end; ++at, b += b_row) add(b, [&](int i) { return samples[i][at]; });
    } else if constexpr (READING == patches) {
        const T* const* samples = t.samples;
        for (long s = 0; s < t.segment_count; ++s) {
            long at = t.segments[s * t.segment_step];
            const long end = at + t.k;
            for (; at + 4 <= end; at += 4) {
#pragma GCC unroll 4
                for (int q = 0; q < 4; ++q, b += b_row) add(b, [&](int i) { return samples[i][at + q]; });
            }
            for (; at < end; ++at, b += b_row) add(b, [&](int i) { return samples[i][at]; });
        }
    } else {  // three rows share a pointer, which leaves registers for all of them
        constexpr int POINTERS = (ROWS + 2) / 3;
        const long a_row = t.a_row, two_rows = 2 * t.a_row;
        const T* a[POINTERS];
#pragma GCC unroll 8
        for (int q = 0; q < POINTERS; ++q) a[q] = t.a + 3 * q * a_row;
        for (long p = 0; p < t.k; ++p, b += b_row) {
            add(b, [&](int i) { return *(a[i / 3] + (i % 3 == 0 ? 0 : i % 3 == 1 ? a_row : two_rows)); });
#pragma GCC unroll 8
            for (int q = 0; q < POINTERS; ++q) ++a[q];
        }
    }
    if constexpr (SUMS) store_sums<T, VECTORS>(t, totals);
    if (t.last && t.epilogue == Epilogue::relu) {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; ++j) sums[i][j] = T(0) > sums[i][j] ? V{} : sums[i][j];
    } else if (t.last && t.epilogue == Epilogue::relu_slope) {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; ++j)
                sums[i][j] = load(t.slope_of + i * t.c_row + j * W) > T(0) ? sums[i][j] : V{};
    } else if (t.last && t.epilogue == Epilogue::slope) {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < VECTORS; ++j) sums[i][j] *= load(t.slope_of + i * t.c_row + j * W);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
        for (int j = 0; j + 1 < VECTORS; ++j) store(t.c + i * t.c_row + j * W, sums[i][j]);
        T* end = t.c + i * t.c_row + (VECTORS - 1) * W;
        if (t.tail == 0) store(end, sums[i][VECTORS - 1]);
        else store_part(end, sums[i][VECTORS - 1], t.tail);
    }
}

template <class T> using TileFunction = void (*)(const Tile<T>&);

// Tile functions by number of rows, from 1.
template <class T, int VECTORS, Reading READING, bool SUMS, class Rows> struct Tiles;
template <class T, int VECTORS, Reading READING, bool SUMS, int... ROWS>
struct Tiles<T, VECTORS, READING, SUMS, std::integer_sequence<int, ROWS...>> {
    static constexpr TileFunction<T> OF[] = {tile<T, ROWS + 1, VECTORS, READING, SUMS>...};
};
template <class T, int VECTORS, Reading READING, bool SUMS = false>
constexpr const TileFunction<T>* TILES =
    Tiles<T, VECTORS, READING, SUMS, std::make_integer_sequence<int, MAX_ROWS>>::OF;

template <class T, int VECTORS> INLINE const TileFunction<T>* tiles_of(int reading, bool sums) {
    switch (reading) {
        case rows: return TILES<T, VECTORS, rows>;
        case sample_rows: return TILES<T, VECTORS, sample_rows>;
        case columns: return sums ? TILES<T, VECTORS, columns, true> : TILES<T, VECTORS, columns>;
        default: return sums ? TILES<T, VECTORS, sample_columns, true> : TILES<T, VECTORS, sample_columns>;
    }
}

template <class T> INLINE const TileFunction<T>* tiles_for(long vectors, int reading, bool sums) {
    return vectors == MAX_VECTORS ? tiles_of<T, MAX_VECTORS>(reading, sums) : tiles_of<T, 1>(reading, sums);
}

// Packs rows [from, from + k) of one or two vectors of B's columns, from `column` on, into
// contiguous memory.
template <class T> void pack_columns(const Product<T>& w, long from, long k, long column, long columns, long stride,
                                     T* to) {
    if (w.b_column == 1) {
        for (long p = 0; p < k; ++p) {
            const T* row = w.b + (from + p) * w.b_row + column;
            for (long j = 0; j < stride; j += WIDTH<T>) {
                store(to + p * stride + j, load(row + j));
                __builtin_prefetch(row + stride + j, 0, 2);  // the next columns
            }
        }
        return;
    }
    // B is stored by columns: W by W blocks are transposed in registers, unless there are few
    // numbers.
    constexpr long W = WIDTH<T>;
    if (k * columns <= 2 * W) {
        for (long p = 0; p < k; ++p)
            for (long j = 0; j < columns; ++j) to[p * stride + j] = w.b[(column + j) * w.b_column + from + p];
        return;
    }
    Vec<T> block[W];
    alignas(64) T part[W * W];
    for (long j = 0; j < stride; j += W)
        for (long p = 0; p < k; p += W) {
            const T* corner = w.b + (column + j) * w.b_column + from + p;
            const long width = columns - j < W ? columns - j : W, here = k - p < W ? k - p : W;
            if (width == W && here == W) load_transposed<T>(corner, w.b_column, block);
            else {
                for (long i = 0; i < W; ++i)
                    store(part + i * W, i < width ? load_part(corner + i * w.b_column, here) : Vec<T>{});
                load_transposed<T>(part, W, block);
            }
            for (long i = 0; i < here; ++i) store(to + (p + i) * stride + j, block[i]);
        }
}

template <class T> void tiled_pack(const Matrix<T>& b, T* to, long depth, long first) {
    Product<T> w{};
    w.b = b.at;
    w.b_row = b.row;
    w.b_column = b.column;
    for (long column = 0; column < b.columns; column += 2 * WIDTH<T>) {
        const long left = b.columns - column, wide = left < 2 * WIDTH<T> ? left : 2 * WIDTH<T>;
        const long stride = wide > WIDTH<T> ? 2 * WIDTH<T> : WIDTH<T>;
        pack_columns(w, 0, b.rows, column, wide, stride, to + first * stride);
        to += depth * stride;
    }
}

template <class T> void tiled_patches(const PatchProduct<T>& w) {
    constexpr long W = WIDTH<T>;
    if (w.m == 0 || w.n == 0) return;
    const long blocks = (w.m + MAX_ROWS - 1) / MAX_ROWS, shorter = w.m / blocks, longer = w.m % blocks;
    const long depth = w.segment_count * w.length;
    const T* patch[MAX_ROWS];
    Tile<T> t{};
    t.k = w.length;
    t.samples = patch;
    t.segments = w.segments;
    t.segment_count = w.segment_count;
    t.segment_step = w.segment_step;
    t.first = t.last = true;
    t.c_row = w.c_row;
    t.epilogue = w.epilogue;
    for (long block = 0, row = 0; block < blocks; ++block) {
        const long here = shorter + (block < longer ? 1 : 0);
        for (long i = 0; i < here; ++i) patch[i] = w.base + w.starts[row + i];
        t.b = w.panels;
        for (long column = 0; column < w.n; column += 2 * W) {
            const long left = w.n - column, wide = left < 2 * W ? left : 2 * W, vectors = wide > W ? 2 : 1;
            t.tail = wide % W;
            t.b_row = vectors * W;
            t.bias = w.bias ? w.bias + column : nullptr;
            t.c = w.c + row * w.c_row + column;
            for (long i = 0; i < here; ++i)  // fetched meanwhile: values are larger than caches
                for (long j = 0; j < vectors; ++j) __builtin_prefetch(t.c + i * w.c_row + j * W, 1, 3);
            (vectors == 2 ? TILES<T, 2, patches> : TILES<T, 1, patches>)[here - 1](t);
            t.b += depth * t.b_row;
        }
        row += here;
    }
}

template <class T> void tiled_product(const Product<T>& w) {
    constexpr long W = WIDTH<T>;
    if (w.m == 0 || w.n == 0) return;
#if defined(CHAINRULE_512)
    if (w.n <= W / 2) return narrow_product(w);
#endif
    const bool single = w.m <= MAX_ROWS;
    const long blocks = single ? 1 : (w.m + MAX_ROWS - 1) / MAX_ROWS;
    const long shorter = single ? w.m : w.m / blocks, longer = single ? 0 : w.m % blocks;
    // A packed matrix of one column is stored both by rows and by columns.
    const bool transposed = w.a_row == 1 && (w.a_column != 1 || w.sums);
    const int reading = (transposed ? columns : rows) + (w.samples ? 2 : 0);
    long depth = w.k;  // K, or equal parts of it
    if (w.k > K_BLOCK) {
        const long parts = (w.k + K_BLOCK - 1) / K_BLOCK;
        depth = (w.k + parts - 1) / parts;
    }
    // B is packed if its rows are too far apart to stay in the L1 cache and are used often.
    const bool packs = w.b_column != 1 || (w.m > 2 * MAX_ROWS && w.n > 2 * W && w.k * w.n > 8192);
    Tile<T> t;
    t.a = nullptr;
    t.a_row = w.a_row;
    t.a_column = w.a_column;
    t.c_row = w.c_row;
    t.epilogue = w.epilogue;
    for (long from = 0; from == 0 || from < w.k; from += depth) {
        t.k = w.k - from < depth ? w.k - from : depth;
        t.first = from == 0 && !w.accumulate;
        t.last = from + t.k >= w.k;
        for (long column = 0; column < w.n; column += MAX_VECTORS * W) {
            const long left = w.n - column, wide = left < MAX_VECTORS * W ? left : MAX_VECTORS * W;
            const long vectors = wide > W ? MAX_VECTORS : 1, stride = vectors * W;
            t.tail = w.whole ? 0 : wide % W;
            const TileFunction<T>* tiles = tiles_for<T>(vectors, reading, false);
            t.sums = w.sums ? w.sums + column : nullptr;
            if (packs) pack_columns(w, from, t.k, column, wide, stride, w.pack);
            t.b = packs ? w.pack : w.b + from * w.b_row + column;
            t.b_row = packs ? stride : w.b_row;
            t.bias = w.bias ? w.bias + column : nullptr;
            for (long block = 0, row = 0; block < blocks; ++block) {
                const long here = shorter + (block < longer ? 1 : 0);
                if (!w.samples) t.a = w.a + row * w.a_row + from * w.a_column;
                t.samples = w.samples ? w.samples + (transposed ? from : row) : nullptr;
                t.a_from = w.a_from + (transposed ? row : from);
                t.c = w.c + row * w.c_row + column;
                t.slope_of = w.slope_of ? w.slope_of + row * w.c_row + column : nullptr;
                if (w.sums && block == 0)  // the column sums of B are the same for all rows of A
                    tiles_for<T>(vectors, reading, true)[here - 1](t);
                else tiles[here - 1](t);
                row += here;
            }
        }
    }
}

}  // namespace chainrule::CHAINRULE_ISA
