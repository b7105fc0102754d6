# Finds volk's source as Debian ships it and compiles it; newer releases have a library, but the
# source works on both.
find_path(Volk_INCLUDE_DIR volk.h)
find_file(Volk_SOURCE volk.c HINTS ${Volk_INCLUDE_DIR})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Volk REQUIRED_VARS Volk_SOURCE Volk_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "install the packages that cli/packages.sh lists")
if(Volk_FOUND AND NOT TARGET Volk::Volk)
    add_library(apus_volk STATIC ${Volk_SOURCE})
    target_include_directories(apus_volk SYSTEM PUBLIC ${Volk_INCLUDE_DIR} ${Vulkan_INCLUDE_DIRS})
    target_compile_definitions(apus_volk PUBLIC VK_NO_PROTOTYPES)
    target_link_libraries(apus_volk PUBLIC ${CMAKE_DL_LIBS})
    add_library(Volk::Volk ALIAS apus_volk)
endif()
mark_as_advanced(Volk_INCLUDE_DIR Volk_SOURCE)
