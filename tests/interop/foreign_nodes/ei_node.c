/* A C node of the library ei. Its arguments are its name (alive@127.0.0.1) and the cookie; commands come on
 * stdin, each answered with one line on stdout. */
#include <ei.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_CONNECTION 2
#define MOST 16

static ei_cnode self;
static const char *cookie;

static int named(ei_cnode *node, const char *name) {
    struct in_addr address;
    char alive[256];
    address.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(alive, sizeof alive, "%.*s", (int)(strchr(name, '@') - name), name);
    return ei_connect_xinit(node, "127.0.0.1", alive, name, &address, cookie, 1);
}

static int is_atom(const char *buf, int *index, const char *name) {
    char atom[MAXATOMLEN];
    int at = *index;
    if (ei_decode_atom(buf, &at, atom) || strcmp(atom, name)) return 0;
    *index = at;
    return 1;
}

/* Answer {'$gen_call', {Pid, Tag}, Request}, and with "echo" {Pid, Term}. ei answers no call by itself, not even
 * a ping, which is one to net_kernel. */
static void handle(int fd, const char *to, const char *buf, int size) {
    ei_x_buff out;
    erlang_pid pid;
    int index = 0, arity, version, tag;
    if (ei_decode_version(buf, &index, &version) || ei_decode_tuple_header(buf, &index, &arity)) return;
    ei_x_new_with_version(&out);
    ei_x_encode_tuple_header(&out, 2);
    if (arity == 3 && is_atom(buf, &index, "$gen_call")) {
        if (ei_decode_tuple_header(buf, &index, &arity) || ei_decode_pid(buf, &index, &pid)) return;
        tag = index;
        ei_skip_term(buf, &index);
        ei_x_append_buf(&out, buf + tag, index - tag);
        if (!strcmp(to, "net_kernel")) ei_x_encode_atom(&out, "yes");
        else {
            ei_x_encode_tuple_header(&out, 2);
            ei_x_encode_atom(&out, "got");
            ei_x_append_buf(&out, buf + index, size - index);
        }
        ei_send(fd, &pid, out.buff, out.index);
    } else if (arity == 2 && !strcmp(to, "echo") && !ei_decode_pid(buf, &index, &pid)) {
        ei_x_encode_pid(&out, ei_self(&self));
        ei_x_append_buf(&out, buf + index, size - index);
        ei_send(fd, &pid, out.buff, out.index);
    }
    ei_x_free(&out);
}

/* Receive from a connection; false where it has ended. */
static int receive(int fd) {
    erlang_msg msg;
    ei_x_buff in;
    int got;
    ei_x_new(&in);
    got = ei_xreceive_msg(fd, &msg, &in);
    if (got == ERL_MSG && msg.msgtype == ERL_REG_SEND) handle(fd, msg.toname, in.buff, in.index);
    ei_x_free(&in);
    return got != ERL_ERROR;
}

static void command(char *line) {
    static int calls = 0;
    char *words[8], name[64];
    int count = 0, fd, at = 0, version, got;
    ei_cnode caller;
    ei_x_buff args, result;
    for (char *word = strtok(line, " \n"); word && count < 8; word = strtok(NULL, " \n")) words[count++] = word;
    snprintf(name, sizeof name, "caller%d_%d@127.0.0.1", (int)getpid(), calls++);
    if (count < 3 || named(&caller, name) < 0 || (fd = ei_connect(&caller, words[1])) < 0) {
        printf("no connection, erl_errno %d\n", erl_errno);
        return;
    }
    ei_x_new(&args);
    ei_x_new(&result);
    if (!strcmp(words[0], "rpc")) {
        ei_x_format_wo_ver(&args, "[-7]");
        got = ei_rpc(&caller, fd, words[2], words[3], args.buff, args.index, &result);
    } else {
        erlang_msg msg;
        ei_x_format(&args, "{~p,hi}", ei_self(&caller));
        ei_reg_send(&caller, fd, words[2], args.buff, args.index);
        do {
            result.index = 0;
            got = ei_xreceive_msg_tmo(fd, &msg, &result, 5000);
        } while (got == ERL_TICK);
        ei_decode_version(result.buff, &at, &version);
    }
    if (got < 0) printf("nothing, erl_errno %d", erl_errno);
    else ei_print_term(stdout, result.buff, &at);
    printf("\n");
    ei_x_free(&args);
    ei_x_free(&result);
    ei_close_connection(fd);
}

int main(int count, char **args) {
    struct pollfd fds[FIRST_CONNECTION + MOST];
    int used = FIRST_CONNECTION, port = 0, listener;
    ErlConnect peer;
    char line[512];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count < 3 || ei_init()) return 2;
    cookie = args[2];
    if (named(&self, args[1]) < 0) return 3;
    if ((listener = ei_listen(&self, &port, 5)) < 0 || ei_publish(&self, port) < 0) return 4;
    fds[0].fd = 0;
    fds[1].fd = listener;
    printf("ready\n");
    for (;;) {
        for (int i = 0; i < used; i++) fds[i].events = POLLIN, fds[i].revents = 0;
        if (poll(fds, used, -1) < 0) return 5;
        for (int i = used - 1; i >= FIRST_CONNECTION; i--)
            if (fds[i].revents && !receive(fds[i].fd)) {
                ei_close_connection(fds[i].fd);
                fds[i] = fds[--used];
            }
        if (fds[1].revents && used < FIRST_CONNECTION + MOST) {
            int fd = ei_accept(&self, listener, &peer);
            if (fd >= 0) fds[used++].fd = fd;
        }
        if (fds[0].revents) {
            size_t n = 0;
            char c;
            while (n < sizeof line - 1 && read(0, &c, 1) == 1 && c != '\n') line[n++] = c;
            if (!n) return 0;
            line[n] = 0;
            command(line);
        }
    }
}
