// Threads that do the same work on shares of it, and wait for each other in between.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace chainrule {

struct Range {
    long from, to;
    long count() const { return to - from; }
};

// The share of thread `t`, in whole units.
inline Range share(long count, long unit, int t, int threads) {
    if (threads == 1) return {0, count};
    const long units = (count + unit - 1) / unit;
    const long from = units * t / threads * unit, to = units * (t + 1) / threads * unit;
    return {from < count ? from : count, to < count ? to : count};
}

class Barrier {
  public:
    explicit Barrier(int threads) : threads_(threads), missing_(threads) {}

    void wait() {
        if (threads_ == 1) return;
        const int round = round_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            missing_.store(threads_, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        // The others come within microseconds, unless the system has taken their core away.
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            if (spins < 2000) pause();
            else std::this_thread::yield();
    }

  private:
    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#endif
    }
    const int threads_;
    alignas(64) std::atomic<int> missing_;
    alignas(64) std::atomic<int> round_{0};
};

// work(t) for t from 0 to threads - 1 at once; 0 is the calling thread.
template <class Work> void in_parallel(int threads, Work work) {
    std::vector<std::thread> others;
    others.reserve(threads > 0 ? threads - 1 : 0);
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto& other : others) other.join();
}

// While it lives, numbers too small for full precision are taken as 0 on this thread: processors take a hundred cycles
// for each of them, and moving averages that fade are full of them.
class NoSubnormals {
  public:
#if defined(__x86_64__)
    NoSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~NoSubnormals() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#endif
};

}  // namespace chainrule
