// The masks of dropout, bit for bit those of generators.keep_mask: each unit takes 32 bits of the output
// of Philox 4x64-10 (Salmon et al., 2011), with NumPy's counter.
#pragma once

#include "settings.h"
#include "vector.h"

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

template <class T> struct Masks {
    uint64_t key0 = 0, key1 = 0;
    uint32_t threshold = 0;  // 0: nothing is dropped
    T keep_scale = 1;
    Masks() = default;
    // The k-th of the settings' keys.
    explicit Masks(const Settings& r, long k = 0)
        : threshold(uint32_t(r.number("threshold"))), keep_scale(T(r.number("keep_scale"))) {
        const List<int64_t> key = r.whole_numbers("key");
        require(key.count % 2 == 0 && k >= 0 && 2 * k < key.count, "a dropout's key has two words");
        key0 = uint64_t(key.data[2 * k]);
        key1 = uint64_t(key.data[2 * k + 1]);
    }

    // The mask of units [start, start + count) in this step: `keep_scale` where a unit is kept, 0
    // where it is dropped.
    INLINE void write(uint64_t step, long start, long count, T* mask) const {
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
};

}  // namespace chainrule::CHAINRULE_ISA
