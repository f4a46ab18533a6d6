// Exceptions, virtual calls, lambdas and templates that map memory.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>
#include <sys/mman.h>
static volatile int sink;
__attribute__((noinline)) static void map_some() {
    void *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p, 8192);
    sink = sink + 1;
}
struct Shape { virtual ~Shape() { map_some(); } virtual int area() const = 0; };
struct Square : Shape { int side; explicit Square(int s) : side(s) {} int area() const override { map_some(); return side * side; } };
template <class F> __attribute__((noinline)) void call(int n, F f) { if (n) call(n - 1, f); else f(); sink = sink + n; }
int main() {
    std::vector<std::unique_ptr<Shape>> shapes;
    for (int i = 0; i < 4; i++) shapes.push_back(std::make_unique<Square>(i));
    int sum = 0;
    for (auto &s : shapes) sum += s->area();
    std::function<void()> f = [&] { map_some(); sum++; };
    call(12, f);
    for (int i = 0; i < 4; i++) {
        try { call(i, [] { throw std::runtime_error(std::string(300000, 'x')); }); }
        catch (const std::exception &e) { map_some(); sum += e.what()[0]; }
    }
    std::map<int, std::vector<char>> m;
    for (int i = 0; i < 6; i++) m[i].resize(300000);
    std::vector<int> v(1000);
    std::generate(v.begin(), v.end(), [n = 0]() mutable { return n++ * 7919 % 1000; });
    int calls = 0;
    std::sort(v.begin(), v.end(), [&](int a, int b) { if (++calls % 3000 == 0) map_some(); return a < b; });
    return (sum + v[0]) & 0;
}
