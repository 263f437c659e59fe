"""Where samples are converted: in this process, in worker processes of this machine, or by any executor."""
