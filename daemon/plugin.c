/* plugin.c - one shared object: where it is, whether it may be opened, what its entry says.
 *
 * plugin_examine() reads the file with pread and finds by itself what the dynamic linker would refuse
 * in its own words, or worse, accept: an executable stack, a file cut short (mapped, it ends in
 * SIGBUS), no build-id.  Nothing of the plugin has run by then.  plugin_open() maps it for good: a
 * profile may hold its addresses for as long as the process lives.
 *
 * Every refusal is a sentence that begins with the path. */
#include "daemon.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "version.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#endif
#define PHDRS_MAX 256
#define NOTES_MAX 65536
#define DYNAMIC_MAX 65536
#define ENTRY_MAX 65536 /* no entry will ever be that long */
#define ENTRY_MIN (offsetof(struct weft_plugin, run) + sizeof(((struct weft_plugin *)0)->run))

struct elf {
	int fd;
	uint64_t size;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
};

/* --- Where -------------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* plugins/ beside the binary, if there is one. */
static bool beside_binary(char *out, size_t cap)
{
	ssize_t n = readlink("/proc/self/exe", out, cap - 1);
	char *slash;
	size_t at;

	if (n <= 0)
		return false;
	out[n] = 0;
	slash = strrchr(out, '/');
	if (!slash)
		return false;
	at = (size_t)(slash - out) + 1;
	if ((size_t)snprintf(out + at, cap - at, "plugins") >= cap - at)
		return false;
	return is_folder(out);
}

int plugin_find(const char *name, const char *dir, char *out, size_t cap)
{
	char beside[PATH_MAX];
	int n;

	if (strchr(name, '/'))
		n = snprintf(out, cap, "%s", name);
	else if (dir)
		n = snprintf(out, cap, "%s/%s", dir, name);
	else
		n = snprintf(out, cap, "%s/%s", beside_binary(beside, sizeof beside) ? beside : WEFT_PLUGINDIR, name);
	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* --- The file ------------------------------------------------------------------------------------- */

static int refuse(char *err, size_t cap, const char *path, const char *fmt, ...)
{
	int n = snprintf(err, cap, "%s: ", path);
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < cap)
		vsnprintf(err + n, cap - (size_t)n, fmt, ap);
	va_end(ap);
	return -ENOEXEC;
}

static bool read_at(const struct elf *e, uint64_t offset, void *out, size_t n)
{
	if (offset > e->size || n > e->size - offset)
		return false;
	while (n > 0) {
		ssize_t got = pread(e->fd, out, n, (off_t)offset);

		if (got <= 0 && !(got < 0 && errno == EINTR))
			return false;
		if (got > 0) {
			out = (char *)out + got;
			offset += (uint64_t)got;
			n -= (size_t)got;
		}
	}
	return true;
}

static int examine_head(struct elf *e, const char *path, char *err, size_t cap)
{
	const unsigned char *id = e->eh.e_ident;

	if (!read_at(e, 0, &e->eh, sizeof e->eh) || memcmp(id, ELFMAG, SELFMAG) != 0)
		return refuse(err, cap, path,
			      "this is not an ELF file, and so no shared object (cc -shared makes one)");
	if (id[EI_CLASS] != ELFCLASS64 || id[EI_DATA] != ELFDATA2LSB || e->eh.e_machine != MACHINE)
		return refuse(err, cap, path,
			      "built for another machine (%d-bit, ELF machine %d); this weftd needs 64-bit, machine %d",
			      id[EI_CLASS] == ELFCLASS32 ? 32 : 64, e->eh.e_machine, MACHINE);
	if (e->eh.e_type != ET_DYN)
		return refuse(err, cap, path, "this is %s, not a shared object: link it with -shared",
			      e->eh.e_type == ET_EXEC  ? "a program"
			      : e->eh.e_type == ET_REL ? "an object file"
						       : "an ELF file of another kind");
	if (e->eh.e_phentsize != sizeof *e->ph || e->eh.e_phnum > PHDRS_MAX ||
	    !read_at(e, e->eh.e_phoff, e->ph, e->eh.e_phnum * sizeof *e->ph))
		return refuse(err, cap, path, "the file is damaged: its program headers can't be read");
	return 0;
}

static const Elf64_Phdr *find_segment(const struct elf *e, uint32_t type)
{
	for (int i = 0; i < e->eh.e_phnum; i++)
		if (e->ph[i].p_type == type)
			return &e->ph[i];
	return NULL;
}

/* A position independent program looks like a shared object but for one flag. */
static bool is_program(const struct elf *e)
{
	const Elf64_Phdr *ph = find_segment(e, PT_DYNAMIC);
	Elf64_Dyn dyn;

	for (uint64_t at = 0; ph && at < ph->p_filesz && at < DYNAMIC_MAX; at += sizeof dyn) {
		if (!read_at(e, ph->p_offset + at, &dyn, sizeof dyn) || dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_FLAGS_1)
			return (dyn.d_un.d_val & DF_1_PIE) != 0;
	}
	return false;
}

/* The build-id among the notes of one segment. */
static bool find_build_id(const struct elf *e, const Elf64_Phdr *ph, struct plugin_file *out)
{
	uint64_t align = ph->p_align == 8 ? 8 : 4, at = 0, end = ph->p_filesz < NOTES_MAX ? ph->p_filesz : NOTES_MAX;

	while (at + sizeof(Elf64_Nhdr) <= end) {
		Elf64_Nhdr nh;
		uint64_t name = ph->p_offset + at + sizeof nh, desc;
		char owner[4];

		if (!read_at(e, ph->p_offset + at, &nh, sizeof nh))
			return false;
		desc = name + ((nh.n_namesz + align - 1) & ~(align - 1));
		if (nh.n_type == NT_GNU_BUILD_ID && nh.n_namesz == 4 && read_at(e, name, owner, 4) &&
		    !memcmp(owner, "GNU", 4) && nh.n_descsz > 0 && nh.n_descsz <= sizeof out->build_id &&
		    read_at(e, desc, out->build_id, nh.n_descsz)) {
			out->build_id_len = (uint8_t)nh.n_descsz;
			return true;
		}
		at = desc - ph->p_offset + ((nh.n_descsz + align - 1) & ~(align - 1));
	}
	return false;
}

static int examine_segments(struct elf *e, const char *path, struct plugin_file *out, char *err, size_t cap)
{
	const Elf64_Phdr *stack = find_segment(e, PT_GNU_STACK);

	for (int i = 0; i < e->eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &e->ph[i];

		if (ph->p_type == PT_LOAD && (ph->p_offset > e->size || ph->p_filesz > e->size - ph->p_offset))
			return refuse(err, cap, path, "the file is cut short: it has %llu bytes, its headers name more",
				      (unsigned long long)e->size);
	}
	if (is_program(e))
		return refuse(err, cap, path, "this is a program, not a shared object: link it with -shared");
	if (!stack || (stack->p_flags & PF_X))
		return refuse(err, cap, path,
			      "it asks for an executable stack (a nested function, or assembly without a "
			      ".note.GNU-stack section); weftd allows none");
	for (int i = 0; i < e->eh.e_phnum; i++)
		if (e->ph[i].p_type == PT_NOTE && find_build_id(e, &e->ph[i], out))
			return 0;
	return refuse(err, cap, path, "it has no build-id, which weftd knows plugins by: link it with -Wl,--build-id");
}

int plugin_examine(const char *path, struct plugin_file *out, char *err, size_t cap)
{
	struct elf *e = calloc(1, sizeof *e);
	struct plugin_file file = { 0 };
	struct stat st;
	int rc = -ENOMEM;

	if (!e) {
		snprintf(err, cap, "%s: no memory", path);
		return rc;
	}
	e->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (e->fd < 0) {
		rc = -errno;
		if (rc == -ENOENT)
			(void)refuse(err, cap, path, "there is no such file");
		else
			(void)refuse(err, cap, path, "can't be opened: %s", weft_strerror(rc));
	} else if (fstat(e->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		rc = refuse(err, cap, path, "this is not a regular file");
	} else {
		e->size = (uint64_t)st.st_size;
		rc = examine_head(e, path, err, cap);
		if (rc == 0)
			rc = examine_segments(e, path, &file, err, cap);
	}
	if (e->fd >= 0)
		(void)close(e->fd);
	free(e);
	if (rc == 0)
		*out = file;
	return rc;
}

/* --- The entry ---------------------------------------------------------------------------------------- */

/* The dynamic linker's complaint in our words where we know it, else its own. */
static int refuse_dlerror(const char *path, char *err, size_t cap)
{
	const char *said = dlerror(), *name = said ? strstr(said, "undefined symbol: ") : NULL;

	if (!name)
		return refuse(err, cap, path, "the dynamic linker refuses it: %s", said ? said : "no reason given");
	name += strlen("undefined symbol: ");
	return refuse(
		err, cap, path, "it needs the symbol %.*s, which neither weftd nor a library it is linked with has%s",
		(int)strcspn(name, ", "), name, !strncmp(name, "weft_", 5) ? " (built against a newer weft.h?)" : "");
}

static int check_entry(const char *path, const struct weft_plugin *entry, struct weft_plugin *out, char *err,
		       size_t cap)
{
	uint32_t major = entry->abi >> 16, minor = entry->abi & 0xffff, size = entry->size;

	if (major != WEFT_ABI_MAJOR)
		return refuse(err, cap, path, "built for ABI major %u; this weftd has %u: rebuild it with its weft.h",
			      major, WEFT_ABI_MAJOR);
	if (minor > WEFT_ABI_MINOR)
		return refuse(err, cap, path, "built for ABI %u.%u, newer than this weftd's %u.%u: use a newer weftd",
			      major, minor, WEFT_ABI_MAJOR, WEFT_ABI_MINOR);
	if (size < ENTRY_MIN || size > ENTRY_MAX)
		return refuse(
			err, cap, path,
			"its weft_plugin_entry says it has %u bytes; from %zu to %d make sense (use WEFT_PLUGIN())",
			size, ENTRY_MIN, ENTRY_MAX);
	memset(out, 0, sizeof *out);
	memcpy(out, entry, size < sizeof *out ? size : sizeof *out);
	if (!out->run)
		return refuse(err, cap, path, "its weft_plugin_entry has no run function, and that one is required");
	return 0;
}

int plugin_open(const char *path, const struct plugin_file *file, struct plugin **out, char *err, size_t cap)
{
	struct plugin *p = calloc(1, sizeof *p);
	const struct weft_plugin *entry;
	char full[PATH_MAX];
	int rc;

	if (!p) {
		snprintf(err, cap, "%s: no memory", path);
		return -ENOMEM;
	}
	snprintf(p->path, sizeof p->path, "%s", path);
	p->file = *file;
	/* An absolute path: dlopen looks for a name without a slash elsewhere. */
	p->handle = dlopen(realpath(path, full) ? full : path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!p->handle) {
		rc = refuse_dlerror(path, err, cap);
		goto fail;
	}
	entry = dlsym(p->handle, "weft_plugin_entry");
	if (!entry) {
		rc = refuse(err, cap, path,
			    "it has no weft_plugin_entry, so it is no plugin of weftd's: see WEFT_PLUGIN()");
		goto fail;
	}
	rc = check_entry(path, entry, &p->entry, err, cap);
	if (rc < 0)
		goto fail;
	*out = p;
	return 0;
fail:
	free(p); /* the object itself stays mapped */
	return rc;
}
