// The version of the structures and functions: raised with every change of them, here and in library.py.

constexpr int ANTIPHON_VERSION = 2;

extern "C" int antiphon_version() { return ANTIPHON_VERSION; }
