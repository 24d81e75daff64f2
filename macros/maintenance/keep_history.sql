{#- Before a run: refuses to rebuild a model from a source that no longer holds all it was built
    from, read itself or through views. Rows past a source's retention live on in the models that
    read it, and a full refresh would lose them without a word. -#}
{%- macro keep_history() -%}
    {%- if execute and flags.FULL_REFRESH and not var('forget_expired') -%}
        {%- set kept_for = {} -%}
        {%- for retention in retentions() -%}
            {%- do kept_for.update({retention.unique_id: retention}) -%}
        {%- endfor -%}
        {%- set nodes = graph.nodes.values() | sort(attribute='unique_id') -%}
        {#- A view has what its table has. Each round goes one view further; no path is longer than
            there are views. -#}
        {%- set views = nodes | selectattr('resource_type', 'equalto', 'model')
            | selectattr('config.materialized', 'in', ['view', 'ephemeral']) | list -%}
        {%- for _ in views -%}
            {%- for view in views if view.unique_id not in kept_for -%}
                {%- for parent in view.depends_on.nodes if parent in kept_for -%}
                    {%- do kept_for.update({view.unique_id: kept_for[parent]}) -%}
                {%- endfor -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for node in nodes
            if node.unique_id in selected_resources
            and node.config.materialized in ['incremental', 'table', 'stream'] -%}
            {%- for parent in node.depends_on.nodes
                if parent in kept_for
                and adapter.get_relation(none, node.schema, node.alias | lower) -%}
                {%- set kept = kept_for[parent] -%}
                {{- refuse(
                    'full refresh of ' ~ node.name ~ ' would lose what it has of ' ~ kept.relation
                    ~ ' from before the last ' ~ kept.days ~ ' days; leave it out, or say that '
                    ~ "this is meant: --vars '{forget_expired: true}'"
                ) -}}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
