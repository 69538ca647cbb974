// Transpose and Slice, as in layers/shaping.py: a sample's numbers in another order, or some of them.
//
// Settings: run: how many numbers of the output follow each other in the input, too; starts: where
// each such run begins there.
#include <cstring>

#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Rearrange : Operation<T> {
    const Value<T>&x, &y;
    long run;
    List<int64_t> starts;
    bool wants_input;
    explicit Rearrange(const Record<T>& r)
        : x(r.input()), y(r.output()), run(long(r.number("run"))), starts(r.whole_numbers("starts")), wants_input(r.wants()) {
        require(run > 0 && run * starts.count == y.rows * y.width && run <= y.width && y.width % run == 0,
                "the runs are whole parts of the output's rows");
        require(x.width % run == 0, "runs do not go beyond a row");
        for (long k = 0; k < starts.count; ++k)
            require(0 <= starts.data[k] && starts.data[k] % run == 0 && starts.data[k] + run <= x.rows * x.width,
                    "a run lies outside of the input");
    }

    void forward(const Pass<T>& p) override {
        each(p, [&](const T* from, T* to) { std::memcpy(to, from, size_t(run) * sizeof(T)); }, x.value, y.value);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range own = p.share(p.samples, 1);
        if (y.rows * y.width < x.rows * x.width)  // the others have none
            std::memset(x.gradient + own.from * x.rows * x.ld, 0, size_t(own.count() * x.rows * x.ld) * sizeof(T));
        each(p, [&](T* from, const T* to) { std::memcpy(from, to, size_t(run) * sizeof(T)); }, x.gradient, y.gradient);
    }

  private:
    // Calls f(input, output) for each run of this thread's samples.
    template <class F> INLINE void each(const Pass<T>& p, F f, T* of_x, T* of_y) const {
        const Range own = p.share(p.samples, 1);
        for (long sample = own.from; sample < own.to; ++sample)
            for (long k = 0; k < starts.count; ++k) {
                const long from = starts.data[k], to = k * run;
                f(of_x + (sample * x.rows + from / x.width) * x.ld + from % x.width,
                  of_y + (sample * y.rows + to / y.width) * y.ld + to % y.width);
            }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(rearrange, Rearrange)
