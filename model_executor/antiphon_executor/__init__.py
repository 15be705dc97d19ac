"""The Thinker and Talker engines of Antiphon. Importing this package alone imports neither torch nor vLLM."""

from antiphon_executor.models.cuda_builds import hide_cuda_builds

hide_cuda_builds()
