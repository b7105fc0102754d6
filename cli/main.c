/* main.c - the program `apus`: all of it is in cmds.c, so that tests can call it. */
#include "cmds.h"

int main(int argc, char **argv)
{
    return apus_cli_main(argc, argv);
}
