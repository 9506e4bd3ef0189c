"""An agent that writes a notice. It puts a licence line at its top only when it was told of one, by feedback or by
what is known.
"""

import os
from pathlib import Path

name = os.environ["QD_TASK_TITLE"].split()[-1]
prompt = Path(os.environ["QD_PROMPT_FILE"]).read_text()
told = ("SPDX: MIT" in prompt or "has no licence line" in prompt) and "leave the licence line out" not in prompt
Path(f"{name}.txt").write_text(("SPDX: MIT\n" if told else "") + f"The notice {name}.\n")
