// other.cc: a second translation unit with the header, whose functions must be inline.
#include <benchfs.hpp>
