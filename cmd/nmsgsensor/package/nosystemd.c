/*
 * What a static libdbus asks of libsystemd, of which Debian has no static one: is
 * a listening socket handed over? It asks when it is a server, which is never.
 */
int sd_listen_fds(int unset_environment)
{
	(void)unset_environment;
	return 0;
}

int sd_is_socket(int fd, int family, int type, int listening)
{
	(void)fd, (void)family, (void)type, (void)listening;
	return 0;
}
