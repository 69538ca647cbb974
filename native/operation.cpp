// What operations, losses and stages share, compiled once.
#include "operation.h"

#include <atomic>
#include <stdexcept>

#include "library.h"
#include "ranks.h"
#include "threads.h"

namespace chainrule {

Settings::~Settings() = default;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T> GradientSink<T>::~GradientSink() = default;
template <class T> Operation<T>::~Operation() = default;
template <class T> Library<T>::~Library() = default;
template <class T> Loss<T>::~Loss() = default;
template <class T> Stage<T>::~Stage() = default;
template <class T> WholeGradient<T>::~WholeGradient() = default;
template <class T> void Pass<T>::report_invalid() const { *static_cast<std::atomic<bool>*>(invalid) = true; }

template <class T> void Pass<T>::wait() const { static_cast<Barrier*>(barrier)->wait(); }

template <class T> void Pass<T>::add_over_ranks(double* numbers, long count) const {
    static_cast<Ranks*>(ranks)->add(numbers, count);
}

template struct GradientSink<float>;
template struct GradientSink<double>;
template struct Pass<float>;
template struct Pass<double>;
template struct Operation<float>;
template struct Operation<double>;
template struct Library<float>;
template struct Library<double>;
template struct Loss<float>;
template struct Loss<double>;
template struct Stage<float>;
template struct Stage<double>;
template struct WholeGradient<float>;
template struct WholeGradient<double>;

}  // namespace chainrule
