# The kernels for GPUs on the host: the stand-in for CUDA, the second binary built against it, and the tests of both.
#
# Kernels are compiled with what thread and alignment sanitizer put before loads and stores; the stand-in brings the
# functions that are called there, and no sanitizer's library is linked. Thread and address sanitizer exclude each other,
# and the stand-in checks bounds itself: so all of this is left out of builds with THAW_SANITIZE. Kernels look at a few
# narrow numbers as one wide one, which a host's compiler must allow.
set(STANDIN ${CMAKE_SOURCE_DIR}/test/cuda/standin)
set(STANDIN_CHECKED -fsanitize=thread,alignment --param=tsan-instrument-func-entry-exit=0 -O2 -fno-strict-aliasing
    -Wno-unknown-pragmas)

# The runtime, unchecked.
file(GLOB STANDIN_SOURCES CONFIGURE_DEPENDS ${STANDIN}/*.cpp)
add_library(thaw_standin_runtime OBJECT ${STANDIN_SOURCES})
target_include_directories(thaw_standin_runtime PRIVATE ${STANDIN})
target_compile_options(thaw_standin_runtime PRIVATE -O3)

# The kernels: each .cu by a source of one line, for compilers that know no .cu. Those with code of their own for sm_90a are
# built twice: as their twins for any GPU, and with what Hopper's own instructions do.
file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cpp/kernels/cuda/*.cu)
set(STANDIN_KERNELS)
set(STANDIN_TWINS)
foreach(source ${CUDA_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  set(wrapper ${CMAKE_BINARY_DIR}/standin/${name}.cpp)
  file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"kernels/cuda/${name}.cu\"\n")
  file(STRINGS ${source} of_hopper REGEX "#include .*sm90a.h")
  if(of_hopper)
    list(APPEND STANDIN_TWINS ${wrapper})
  else()
    list(APPEND STANDIN_KERNELS ${wrapper})
  endif()
endforeach()
function(thaw_standin_kernels name)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE ${STANDIN} cpp)
  target_compile_definitions(${name} PRIVATE THAW_VERSION="${THAW_VERSION}")
  target_compile_options(${name} PRIVATE ${STANDIN_CHECKED} -g1)
endfunction()
thaw_standin_kernels(thaw_standin_kernels ${STANDIN_KERNELS})
thaw_standin_kernels(thaw_standin_twins ${STANDIN_TWINS})
thaw_standin_kernels(thaw_standin_sm90a ${STANDIN_TWINS})
target_compile_definitions(thaw_standin_sm90a PRIVATE THAW_STANDIN_SM90A=1)
set(STANDIN_OBJECTS $<TARGET_OBJECTS:thaw_standin_kernels> $<TARGET_OBJECTS:thaw_standin_runtime>)

# The second binary, as the core loads it.
add_library(thaw_cuda_standin SHARED ${STANDIN_OBJECTS} $<TARGET_OBJECTS:thaw_standin_twins>)
set_target_properties(thaw_cuda_standin PROPERTIES PREFIX "" OUTPUT_NAME thaw.standin SUFFIX .so)
target_link_libraries(thaw_cuda_standin PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/standin/exports.map CONTENT "{ global: thaw_gpu_backend; local: *; };\n")
target_link_options(thaw_cuda_standin PRIVATE -Wl,--version-script=${CMAKE_BINARY_DIR}/standin/exports.map -Wl,-z,nodelete
  -Wl,--no-undefined)

# The same for tests, which see the inside.
add_library(thaw_standin STATIC ${STANDIN_OBJECTS} $<TARGET_OBJECTS:thaw_standin_twins>)
add_library(thaw_standin_hopper STATIC ${STANDIN_OBJECTS} $<TARGET_OBJECTS:thaw_standin_sm90a>)
foreach(name thaw_standin thaw_standin_hopper)
  target_link_libraries(${name} PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
endforeach()

function(thaw_standin_test name source library)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${STANDIN} test/cuda test/cpp)
  target_compile_options(${name} PRIVATE ${STANDIN_CHECKED} -g1)
  target_link_libraries(${name} PRIVATE thaw_core ${library})
  add_test(NAME ${name} COMMAND ${name})
endfunction()
file(GLOB CUDA_TESTS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/cuda/*_test.cpp)
foreach(source ${CUDA_TESTS})
  get_filename_component(name ${source} NAME_WE)
  thaw_standin_test(cuda_${name} ${source} thaw_standin)
endforeach()
# Those of kernels with code of their own for sm_90a, on that.
foreach(name conv2d_test)
  thaw_standin_test(cuda_${name}_sm90a test/cuda/${name}.cpp thaw_standin_hopper)
endforeach()

# The operators' tests of the core once more, on the stand-in.
foreach(name batch_norm_test conv2d_bf16_test conv2d_shapes_test conv2d_test linear_bf16_test ops_losses_test ops_products_test
        optim_test pool_norm_test pool_test shape_ops_test)
  add_test(NAME cuda_${name}_of_operators COMMAND ${name})
  set_tests_properties(cuda_${name}_of_operators PROPERTIES ENVIRONMENT THAW_CUDA_BINARY=$<TARGET_FILE:thaw_cuda_standin>)
endforeach()
