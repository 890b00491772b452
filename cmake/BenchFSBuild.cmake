# The library out of the sources: the Go part is the Makefile's, which decides what is out of date.
set(_benchfs_top "${CMAKE_CURRENT_LIST_DIR}/..")
get_filename_component(_benchfs_top "${_benchfs_top}" ABSOLUTE)
find_program(BENCHFS_MAKE NAMES gmake make REQUIRED)
file(STRINGS "${_benchfs_top}/Makefile" _benchfs_soversion REGEX "^SOVERSION := ")
string(REGEX REPLACE "^SOVERSION := " "" _benchfs_soversion "${_benchfs_soversion}")

# Outer builds run make too: their flags and job server are not meant for this one.
add_custom_target(benchfs_build ALL
  COMMAND "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS --unset=MAKELEVEL "${BENCHFS_MAKE}" -C "${_benchfs_top}" build
  BYPRODUCTS "${_benchfs_top}/lib/libbenchfs.so.${_benchfs_soversion}"
  COMMENT "libbenchfs.so (make build)"
  VERBATIM)

add_library(benchfs::benchfs SHARED IMPORTED GLOBAL)
set_target_properties(benchfs::benchfs PROPERTIES
  IMPORTED_LOCATION "${_benchfs_top}/lib/libbenchfs.so.${_benchfs_soversion}"
  IMPORTED_SONAME "libbenchfs.so.${_benchfs_soversion}"
  INTERFACE_INCLUDE_DIRECTORIES "${_benchfs_top}/include")
add_dependencies(benchfs::benchfs benchfs_build)

# The Fortran module, by the compiler of the project around this one, if it has one.
get_property(_benchfs_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
if("Fortran" IN_LIST _benchfs_languages)
  add_library(benchfs_fortran STATIC "${_benchfs_top}/fortran/benchfs.f90")
  set_target_properties(benchfs_fortran PROPERTIES
    Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/fortran"
    INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_BINARY_DIR}/fortran"
    POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(benchfs_fortran PUBLIC benchfs::benchfs)
  add_library(benchfs::fortran ALIAS benchfs_fortran)
endif()
unset(_benchfs_languages)
unset(_benchfs_soversion)
unset(_benchfs_top)
