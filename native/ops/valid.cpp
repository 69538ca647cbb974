// What sequences of different lengths take, as in layers/lengths.py: a mask, and the largest input and the
// mean over the valid positions. The second input has the number of these of each sample.
//
// Settings: takes: "all", "largest" or "mean".
#include <cmath>
#include <cstring>

#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Valid : Operation<T> {
    enum class Takes { all, largest, mean };
    const Record<T>& record;
    const Value<T>&x, &lengths, &y;
    Takes takes;
    T* won;  // the position of each largest input, which a T holds exactly
    explicit Valid(const Record<T>& r)
        : record(r), x(r.input(0)), lengths(r.input(1)), y(r.output()), takes(takes_of(r.text("takes"))),
          won(takes == Takes::largest ? r.memory(r.max_samples() * x.width) : nullptr) {
        require(y.width == x.width && y.rows == (takes == Takes::all ? x.rows : 1), "features are kept");
        require(lengths.rows == 1 && lengths.width == 1, "lengths are one number for each sample");
        require(x.rows < 1 << 24, "a sequence has fewer than 16 million positions");
    }

    void forward(const Pass<T>& p) override {
        each(p, [&](long s, long count) {
            T* const to = row(y, y.value, s, 0);
            if (takes == Takes::all) {
                for (long t = 0; t < x.rows; ++t) {
                    if (t < count) copy(x.width, row(x, x.value, s, t), row(y, y.value, s, t));
                    else std::memset(row(y, y.value, s, t), 0, size_t(y.width) * sizeof(T));
                }
                return;
            }
            std::memset(to, 0, size_t(y.width) * sizeof(T));
            if (takes == Takes::largest && count) largest(s, count, to);
            if (takes == Takes::mean && count) {
                const T share = 1 / T(count);
                for (long t = 0; t < count; ++t) add_times(share, row(x, x.value, s, t), to);
            }
        });
    }
    void backward(const Pass<T>& p) override {
        each(p, [&](long s, long count) {
            if (record.wants(1)) std::memset(lengths.gradient + s * lengths.ld, 0, sizeof(T));
            if (!record.wants(0)) return;
            for (long t = 0; t < x.rows; ++t) {
                T* const to = row(x, x.gradient, s, t);
                std::memset(to, 0, size_t(x.width) * sizeof(T));
                if (t >= count || takes == Takes::largest) continue;
                if (takes == Takes::all) copy(x.width, row(y, y.gradient, s, t), to);
                else add_times(1 / T(count), row(y, y.gradient, s, 0), to);
            }
            for (long j = 0; takes == Takes::largest && count && j < x.width; ++j)
                row(x, x.gradient, s, long(won[s * x.width + j]))[j] = row(y, y.gradient, s, 0)[j];
        });
    }

  private:
    static Takes takes_of(const char* name) {
        if (!std::strcmp(name, "all")) return Takes::all;
        require(!std::strcmp(name, "largest") || !std::strcmp(name, "mean"), "there is no such pooling");
        return name[0] == 'l' ? Takes::largest : Takes::mean;
    }
    static INLINE T* row(const Value<T>& v, T* data, long s, long t) { return data + (s * v.rows + t) * v.ld; }
    // Calls f(sample, valid positions) for this thread's samples.
    template <class F> INLINE void each(const Pass<T>& p, F f) const {
        const Range own = p.share(p.samples, 1);
        for (long s = own.from; s < own.to; ++s) {
            const T given = lengths.value[s * lengths.ld];
            f(s, given >= T(x.rows) ? x.rows : given > 0 ? long(std::ceil(given)) : 0);
        }
    }
    void add_times(T factor, const T* from, T* to) const {
        over<T>(x.width, [=](long j, auto get, auto put) INLINE_LAMBDA { put(to + j, get(to + j) + get(from + j) * factor); });
    }
    // Of equal inputs the first; NaN is larger than any.
    void largest(long s, long count, T* to) const {
        for (long j = 0; j < x.width; ++j) {
            long best = 0;
            T most = row(x, x.value, s, 0)[j];
            for (long t = 1; t < count && most == most; ++t) {
                const T here = row(x, x.value, s, t)[j];
                if (!(here > most) && here == here) continue;
                most = here;
                best = t;
            }
            to[j] = most;
            won[s * x.width + j] = T(best);
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(valid, Valid)
