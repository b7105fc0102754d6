# TensorBoard's messages: protobuf-c code from tensorboard.proto, added to the target apus_train.
# Include it after the layer is declared.
set(proto_dir ${CMAKE_BINARY_DIR}/proto)
get_filename_component(proto_source ${CMAKE_CURRENT_LIST_DIR}/tensorboard.proto ABSOLUTE)
if(NOT PROTOBUF_C_PROTOC OR NOT PROTOBUF_C_PLUGIN)
    message(FATAL_ERROR "protoc or protobuf-c's plug-in for it is missing: install the packages "
        "that cli/packages.sh lists")
endif()
file(MAKE_DIRECTORY ${proto_dir})
# protoc refuses a plug-in by another name than protoc-gen-c unless it is told its path.
add_custom_command(
    OUTPUT ${proto_dir}/tensorboard.pb-c.c ${proto_dir}/tensorboard.pb-c.h
    COMMAND ${PROTOBUF_C_PROTOC} --plugin=protoc-gen-c=${PROTOBUF_C_PLUGIN}
        --proto_path=${CMAKE_CURRENT_LIST_DIR} --c_out=${proto_dir} ${proto_source}
    DEPENDS ${proto_source} VERBATIM)
# Generated code is not held to the project's warnings.
add_library(apus_proto OBJECT ${proto_dir}/tensorboard.pb-c.c)
target_link_libraries(apus_proto PUBLIC ProtobufC::ProtobufC)
target_include_directories(apus_proto SYSTEM PUBLIC ${proto_dir})
set_target_properties(apus_proto PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_sources(apus_train PRIVATE $<TARGET_OBJECTS:apus_proto>)
target_include_directories(apus_train SYSTEM PRIVATE ${proto_dir})
add_dependencies(apus_train apus_proto)
