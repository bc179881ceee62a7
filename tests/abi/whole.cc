// whole.cc - a plugin in C++20, to see that weft.h serves C++; never run.
#include <weft.h>

#include <new>
#include <string>
#include <vector>

namespace
{

struct state {
	weft_mutex lock;
	weft_wg wg;
	weft_chan *jobs;
	std::vector<std::string> *seen;
};

void worker(void *arg)
{
	auto *s = static_cast<state *>(arg);
	int64_t job = 0;

	while (weft_chan_recv(s->jobs, &job, sizeof job) > 0) {
		weft::labelled label("job", std::to_string(job).c_str());
		weft::task task("job");
		weft::region region("look");
		weft::locked hold(&s->lock);
		weft::timeout limit(WEFT_SEC);
		weft::blocking section;

		s->seen->push_back(std::to_string(job));
	}
}

int init(void *arg, const weft_conf *)
{
	auto *s = static_cast<state *>(arg);

	s->jobs = weft_chan_new(sizeof(int64_t), 4);
	if (s->jobs == nullptr)
		return -ENOMEM;
	s->seen = new (std::nothrow) std::vector<std::string>;
	return s->seen != nullptr ? 0 : -ENOMEM;
}

int run(void *arg)
{
	auto *s = static_cast<state *>(arg);

	if (int rc = weft_wg_go(&s->wg, worker, s); rc < 0)
		return rc;
	for (int64_t i = 0; i < 10; i++)
		if (weft_chan_send(s->jobs, &i, sizeof i) < 0)
			break;
	(void)weft_chan_close(s->jobs);
	weft_wg_wait(&s->wg);
	weft_log(WEFT_INFO, "%zu jobs, errno %d", s->seen->size(), errno);
	return 0;
}

void fini(void *arg)
{
	auto *s = static_cast<state *>(arg);

	weft_chan_free(s->jobs);
	delete s->seen;
}

} // namespace

WEFT_PLUGIN(.name = "whole++", .version = "1", .about = "C++20", .state_size = sizeof(state), .init = init, .run = run,
	    .fini = fini);
