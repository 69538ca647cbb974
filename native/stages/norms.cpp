// Stages that multiply each array by a factor that its norm gives, as in descent/stages.py and
// descent/adaptive.py.
#include <cmath>

#include "whole.h"

namespace chainrule::CHAINRULE_ISA {

INLINE double clip_factor(double squares, double limit) {
    const double norm = std::sqrt(squares);
    return norm > limit ? limit / norm : 1;
}

template <class T> struct ClipNorm : WholeStage<T> {
    double limit;
    explicit ClipNorm(const Settings& s) : limit(s.number("limit")) {}
    bool is_by_array() const override { return true; }
    bool multiplies() const override { return true; }
    void apply_to_whole(WholeGradient<T>& whole) const override {
        for (long a = 0; whole.t == 0 && a < whole.arrays(); ++a)
            if (whole.applies(a)) whole.multiply(a, T(clip_factor(whole.g_squares(a), limit)));
    }
};

template <class T> struct ClipGlobalNorm : WholeStage<T> {
    double limit;
    explicit ClipGlobalNorm(const Settings& s) : limit(s.number("limit")) {}
    bool multiplies() const override { return true; }
    void apply_to_whole(WholeGradient<T>& whole) const override {
        for (long a = 0; whole.t == 0 && a < whole.arrays(); ++a)
            if (whole.applies(a)) whole.multiply(a, T(clip_factor(whole.all_squares(), limit)));
    }
};

template <class T> struct TrustRatio : WholeStage<T> {
    explicit TrustRatio(const Settings&) {}
    bool uses_w_squares() const override { return true; }
    bool is_by_array() const override { return true; }
    bool multiplies() const override { return true; }
    void apply_to_whole(WholeGradient<T>& whole) const override {
        for (long a = 0; whole.t == 0 && a < whole.arrays(); ++a) {
            const double g = whole.g_squares(a), w = whole.w_squares(a);
            if (whole.applies(a) && g > 0 && w > 0) whole.multiply(a, T(std::sqrt(w) / std::sqrt(g)));
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(clip_norm, ClipNorm)
REGISTER_STAGE(clip_global_norm, ClipGlobalNorm)
REGISTER_STAGE(trust_ratio, TrustRatio)
