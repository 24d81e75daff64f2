{#- Before a run: refuses to rebuild a model from a source that no longer holds all it was built
    from. Rows past a source's retention live on in the models that read it, and a full refresh
    would lose them without a word. -#}
{%- macro keep_history() -%}
    {%- if execute and flags.FULL_REFRESH and not var('forget_expired') -%}
        {%- set kept_for = {} -%}
        {%- for retention in retentions() -%}
            {%- do kept_for.update({retention.unique_id: retention}) -%}
        {%- endfor -%}
        {%- for node in graph.nodes.values() | sort(attribute='unique_id')
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
