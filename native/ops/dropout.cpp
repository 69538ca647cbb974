// Dropout, as in layers/dropout.py, with masks that are bit for bit those of generators.keep_mask:
// each unit takes 32 bits of the output of Philox 4x64-10 (Salmon et al., 2011), with NumPy's
// counter.
//
// Settings: key: two words of 64 bits; threshold; keep_scale: 1 / (1 - rate).
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

INLINE void philox(uint64_t counter0, uint64_t counter1, uint64_t key0, uint64_t key1, uint64_t out[4]) {
    uint64_t c0 = counter0, c1 = counter1, c2 = 0, c3 = 0;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93ull * c0;
        const unsigned __int128 b = (unsigned __int128)0xCA5A826395121157ull * c2;
        c0 = (uint64_t)(b >> 64) ^ c1 ^ key0;
        c2 = (uint64_t)(a >> 64) ^ c3 ^ key1;
        c1 = (uint64_t)b;
        c3 = (uint64_t)a;
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

// The mask of units [start, start + count) in this step: `keep_scale` where a unit is kept, 0
// where it is dropped.
template <class T>
void keep_mask(uint64_t key0, uint64_t key1, uint64_t step, uint32_t threshold, T keep_scale, long start, long count,
               T* mask) {
    uint64_t words[4];
    for (long unit = start, block = -1; unit < start + count; ++unit) {
        if (unit / 8 != block) {
            block = unit / 8;
            // NumPy increments the counter before it draws.
            philox((uint64_t)block + 1, step, key0, key1, words);
        }
        const uint32_t bits = (uint32_t)(words[unit % 8 / 2] >> (unit % 2 ? 32 : 0));
        *mask++ = bits >= threshold ? keep_scale : T(0);
    }
}

template <class T> struct Dropout : Operation<T> {
    const Value<T>&x, &y;
    uint64_t key0, key1;
    uint32_t threshold;
    T keep_scale;
    bool wants_input;
    T* mask;
    explicit Dropout(const Record<T>& r)
        : x(r.input()), y(r.output()), threshold(uint32_t(r.number("threshold"))),
          keep_scale(T(r.number("keep_scale"))), wants_input(r.wants()),
          mask(r.memory(r.max_samples() * x.rows * x.ld)) {
        const List<int64_t> key = r.whole_numbers("key");
        require(key.count == 2, "a dropout's key has two words");
        require(x.rows == y.rows && x.ld == y.ld, "dropout keeps the shape");
        key0 = uint64_t(key.data[0]);
        key1 = uint64_t(key.data[1]);
    }

    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (!p.training) return copy(count, x.value + at, y.value + at);
        for (long row = r.from; row < r.to; ++row)
            keep_mask(key0, key1, p.step, threshold, keep_scale, row * x.width, x.width, mask + row * x.ld);
        multiply(count, x.value + at, mask + at, y.value + at);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (p.training) multiply(count, y.gradient + at, mask + at, x.gradient + at);
        else copy(count, y.gradient + at, x.gradient + at);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(dropout, Dropout)
