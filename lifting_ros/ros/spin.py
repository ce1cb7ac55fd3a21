"""Start a node, spin it, end it: the same for every node."""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor


def run(make_node, args=None):
    """Make a node and spin it until it is told to end.

    Not rclpy.spin(): now and then a signal does not wake its endless wait.

    Args:
        make_node: called without arguments, returns the node. The node may set ``finished``.
        args: of the command line; None: those of the process.

    Returns:
        0, or 1 where the node could not start; the reason is on stderr.
    """
    rclpy.init(args=sys.argv if args is None else args)
    node = None
    try:
        try:
            node = make_node()
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            rclpy.logging.get_logger('lifting_ros').fatal(f'cannot start: {error}')
            return 1
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not getattr(node, 'finished', False):
            executor.spin_once(timeout_sec=0.5)
        return int(getattr(node, 'status', 0))
    except (KeyboardInterrupt, ExternalShutdownException):
        return int(getattr(node, 'status', 0))
    except Exception:
        # a signal ends the context at any time, and who is about to publish then fails
        if rclpy.ok():
            raise
        return int(getattr(node, 'status', 0))
    finally:
        if node is not None:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        rclpy.try_shutdown()
