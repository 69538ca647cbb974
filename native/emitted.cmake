# Fails if an object that was compiled for one instruction set defines something that another object
# may define as well, outside of that instruction set's namespace: the linker keeps one of them,
# perhaps one that the processor can't run.
#
#     cmake -DNM=nm -DISA=avx512 -DOBJECTS="a.o;b.o" -P emitted.cmake
string(LENGTH ${ISA} length)
set(own "^_Z(T[VIS]|GV|Z)?(N|NK)?9chainrule(${length}${ISA}|11avx512_half)")
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [uVW] [^\n]+" shared "${symbols}")  # unique and weak definitions
  foreach(symbol ${shared})
    string(REGEX REPLACE "^[^ ]+ . " "" name ${symbol})
    if(NOT name MATCHES ${own} AND NOT name STREQUAL "DW.ref.__gxx_personality_v0")  # an address
      message(SEND_ERROR "${object} defines ${name}")
    endif()
  endforeach()
endforeach()
