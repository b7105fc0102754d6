# Finds protobuf-c and its compiler.
find_path(ProtobufC_INCLUDE_DIR protobuf-c/protobuf-c.h)
find_library(ProtobufC_LIBRARY protobuf-c)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ProtobufC REQUIRED_VARS ProtobufC_LIBRARY ProtobufC_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "install the packages that cli/packages.sh lists")
if(ProtobufC_FOUND AND NOT TARGET ProtobufC::ProtobufC)
    add_library(ProtobufC::ProtobufC UNKNOWN IMPORTED)
    set_target_properties(ProtobufC::ProtobufC PROPERTIES IMPORTED_LOCATION ${ProtobufC_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${ProtobufC_INCLUDE_DIR})
endif()
mark_as_advanced(ProtobufC_INCLUDE_DIR ProtobufC_LIBRARY)
# Debian 13's protoc-c says it is deprecated; protoc with the same plug-in works on both.
find_program(PROTOBUF_C_PROTOC protoc)
find_program(PROTOBUF_C_PLUGIN NAMES protoc-gen-c protoc-c)
