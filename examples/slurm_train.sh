#!/bin/bash
# A training run on eight machines of eight GPUs, under Slurm:
#
#   sbatch examples/slurm_train.sh CONFIG --out RUN
#
# The same command goes on where the run was stopped, with any number of machines. Submitted several
# times with --dependency=singleton, jobs follow each other until the run is done.
#SBATCH --job-name=proxylm
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
# Five minutes before the end all ranks finish their step and save it.
#SBATCH --signal=TERM@300
set -euo pipefail

first_machine=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Without it, ranks that are started again after a failure do not find each other.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

exec srun torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${RANKS_PER_MACHINE:-8}" \
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first_machine:29500" \
  --max-restarts 3 --shutdown-timeout 240 \
  -m proxylm train "$@"
